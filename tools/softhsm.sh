#!/usr/bin/env bash
# Makes sure that SoftHSM is there. Installs it only as root, never by sudo. Without it the demo goes
# on with the software HSM and says so; in CI it must be there.
set -u
for m in "${SOFTHSM2_MODULE:-}" /usr/lib/softhsm/libsofthsm2.so /usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so /usr/local/lib/softhsm/libsofthsm2.so; do
  [ -n "$m" ] && [ -e "$m" ] && command -v softhsm2-util >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo 'installing SoftHSM (apt-get install softhsm2)'
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends softhsm2; } >/tmp/coffer-apt.$$ 2>&1 && rm -f /tmp/coffer-apt.$$ && exit 0
  tail -n 5 /tmp/coffer-apt.$$ >&2; rm -f /tmp/coffer-apt.$$
fi
printf 'SoftHSM is not installed; the vaults will use the software HSM.\nhint:  apt-get install softhsm2   (as root)\n' >&2
[ "${CI:-}" = true ] && exit 1
exit 0
