// Package devicetest opens real PKCS#11 devices for tests: openCryptoki, NSS, and
// tpm2-pkcs11 over a TPM emulator. What must be installed, and started as root,
// tools/devices.sh installs and starts. In CI (CI=true) a device that is missing fails
// the test; elsewhere the test is skipped with the reason.
//
// What is started here ends with the test. Every device belongs to the test that
// asked for it; two tests never share a token's keys. The PINs are constants: nothing of
// value is ever on these devices.
package devicetest
