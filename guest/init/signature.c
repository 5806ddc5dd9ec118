// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who made an update.  An image that was signed has the certificate of its key, and
 * takes what the same key has signed (RSA, PKCS #1 v1.5, SHA-256).  The kernel does the
 * arithmetic: Documentation/security/keys/core.rst, KEYCTL_PKEY_VERIFY.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "update.h"

#define CERTIFICATE	"/.ukl/update.crt"

static int add_certificate(int fd)
{
	unsigned char certificate[8192];
	long n = read(fd, certificate, sizeof(certificate));

	if (n <= 0)
		return -1;
	return syscall(SYS_add_key, "asymmetric", "", certificate, n, KEY_SPEC_PROCESS_KEYRING);
}

bool is_trusted(const struct label *label)
{
	struct keyctl_pkey_params params = {
		.in_len = HASH_BYTES, .in2_len = label->signature_bytes,
	};
	unsigned char sum[HASH_BYTES];
	struct sha256 hash;
	int fd = open(CERTIFICATE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT;
	params.key_id = add_certificate(fd);
	close(fd);
	if (params.key_id < 0 || label->signature_bytes > sizeof(label->signature))
		return false;
	sha256_begin(&hash);
	sha256_add(&hash, label, LABEL_SIGNED);
	sha256_end(&hash, sum);
	return syscall(SYS_keyctl, KEYCTL_PKEY_VERIFY, &params, "enc=pkcs1 hash=sha256", sum,
		       label->signature) == 0;
}
