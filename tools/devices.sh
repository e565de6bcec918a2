#!/usr/bin/env bash
# Makes sure that the HSMs of the tests are there: SoftHSM, openCryptoki, NSS, a TPM emulator and
# tpm2-pkcs11. Installs what is missing, on Debian and only as root (never by sudo), and configures
# openCryptoki, whose daemon has fixed paths; the rest is started by the tests themselves. Without a device
# its tests are skipped, the demo takes the software HSM and says so; in CI every device must be there.
set -u
root=false; [ "$(id -u)" = 0 ] && root=true
lib() { for d in /usr/lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu /usr/lib64 /usr/lib; do [ -e "$d/$1" ] && return 0; done; return 1; }
tool() { command -v "$1" >/dev/null 2>&1; }
missing() {
  tool softhsm2-util || [ -e "${COFFER_SOFTHSM:-/nonexistent}" ] || echo softhsm2
  { tool pkcsslotd || [ -x /usr/sbin/pkcsslotd ]; } && lib pkcs11/libopencryptoki.so || echo opencryptoki
  lib libsoftokn3.so || lib nss/libsoftokn3.so || echo libnss3
  tool certutil || echo libnss3-tools
  tool swtpm || echo swtpm
  tool swtpm_setup || echo swtpm-tools
  lib pkcs11/libtpm2_pkcs11.so || echo libtpm2-pkcs11-1
  tool tpm2_ptool || echo libtpm2-pkcs11-tools
  tool tpm2_getcap || echo tpm2-tools
  { tool tpm2-abrmd || [ -x /usr/sbin/tpm2-abrmd ]; } || echo tpm2-abrmd
  lib libtss2-tcti-swtpm.so.0 || echo libtss2-tcti-swtpm0
  lib libtss2-tcti-tabrmd.so.0 || echo libtss2-tcti-tabrmd0
  tool dbus-daemon || echo dbus-daemon
}

need=$(missing | sort -u | tr '\n' ' ')
if [ -n "${need// }" ] && $root && tool apt-get; then
  echo "installing HSMs for the tests (apt-get install $need)"
  log=$(mktemp)
  # libc6-dev and gcc: cgo loads the devices' libraries.
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need gcc libc6-dev; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
  fi
  rm -f "$log"
  need=$(missing | sort -u | tr '\n' ' ')
fi

# openCryptoki: one daemon a machine, four slots with a token each, PINs of the tests.
opencryptoki() {
  export PATH=$PATH:/usr/sbin
  local conf=/etc/opencryptoki/opencryptoki.conf slot name
  tool pkcsslotd || return 1
  if ! pkcsconf -s >/dev/null 2>&1; then
    # Its configuration and daemon are the whole machine's: they are CI's to write, or whoever says so.
    if [ "${CI:-}" != true ] && [ -z "${COFFER_OPENCRYPTOKI:-}" ]; then
      echo "openCryptoki is left alone: its tests are skipped. hint:  COFFER_OPENCRYPTOKI=1 make tools  (as root; writes $conf)" >&2
      return 0
    fi
    $root || { echo "openCryptoki's daemon does not run; start it as root: tools/devices.sh" >&2; return 1; }
    getent group pkcs11 >/dev/null || groupadd -r pkcs11
    usermod -aG pkcs11 root
    if ! grep -q coffer6 "$conf" 2>/dev/null; then
      [ -e "$conf" ] && cp "$conf" "$conf.before-coffer"
      { printf 'version opencryptoki-3.1\nslot 3\n{\nstdll = libpkcs11_sw.so\n}\n'
        for slot in 4 5 6; do printf 'slot %d\n{\nstdll = libpkcs11_sw.so\ntokname = coffer%d\n}\n' $slot $slot; done; } >"$conf"
    fi
    for name in swtok coffer4 coffer5 coffer6; do mkdir -p /var/lib/opencryptoki/$name/TOK_OBJ /var/lock/opencryptoki/$name; done
    mkdir -p /run/opencryptoki /var/log/opencryptoki
    chgrp -R pkcs11 /run/opencryptoki /var/lock/opencryptoki /var/log/opencryptoki /var/lib/opencryptoki
    chmod -R 770 /run/opencryptoki /var/lock/opencryptoki /var/lib/opencryptoki
    rm -f /run/opencryptoki/pkcsslotd.pid /var/run/pkcsslotd.pid
    pkcsslotd || return 1
    for _ in $(seq 50); do pkcsconf -s >/dev/null 2>&1 && break; sleep 0.1; done
  fi
  $root || return 0
  for slot in 3 4 5 6; do
    pkcsconf -t -c $slot 2>/dev/null | grep -q USER_PIN_INITIALIZED && continue
    { echo "coffer$slot" | pkcsconf -c $slot -I -S 87654321 && pkcsconf -c $slot -P -S 87654321 -n 12345678 &&
      pkcsconf -c $slot -u -S 12345678 -n 12345670; } >/dev/null || return 1
  done
}
ok=true
case " $need " in *" opencryptoki "*) ok=false ;; *) opencryptoki || ok=false ;; esac

if [ -n "${need// }" ]; then
  printf 'not installed: %s\nTheir tests are skipped; without softhsm2 the vaults use the software HSM.\nhint:  apt-get install --no-install-recommends %s  (as root)\n' "$need" "$need" >&2
  ok=false
fi
$ok && exit 0
[ "${CI:-}" = true ] && exit 1
exit 0
