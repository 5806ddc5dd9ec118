/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of updates share; update.c has the way of an update. */
#ifndef UPDATE_H
#define UPDATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* sha256.c: FIPS 180-4. */

#define HASH_BYTES	32

struct sha256 {
	uint32_t state[8];
	uint64_t length;
	unsigned char block[64];
};

void sha256_begin(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *data, size_t length);
void sha256_end(struct sha256 *hash, unsigned char sum[HASH_BYTES]);

/* slots.c: the disk that the machine starts from. */

#define SECTOR		512
#define GUID_BYTES	16

/*
 * What is in a slot: its last 4096 bytes, and the first of an update's file.
 * src/containers/slots.ts writes it.
 */
#define LABEL_BYTES	4096
#define LABEL_MAGIC	"UKLSLOT1"

enum slot_state { SLOT_NEW, SLOT_TRIED, SLOT_GOOD };

struct label {
	char magic[8];
	unsigned char disk[GUID_BYTES];	/* of the disks that it is for */
	uint64_t bytes;			/* of what comes with it */
	unsigned char sum[HASH_BYTES];	/* of the same */
	/* A root file system is behind the first so many bytes, and its partition has this name; 0 without one. */
	uint64_t root_at;
	unsigned char root[GUID_BYTES];
	char version[64];		/* for people */
	/* All before this is signed. */
	uint32_t signature_bytes;
	unsigned char signature[1024];
	uint32_t state;			/* enum slot_state; in a slot only */
	unsigned char rest[LABEL_BYTES - 1184];
} __attribute__((packed));

#define LABEL_SIGNED	offsetof(struct label, signature_bytes)

/* In bytes of the disk.  A root file system has its own partition, of 0 bytes if there is none. */
struct slot {
	uint64_t start, bytes, root_start, root_bytes;
};

struct slots {
	int disk;
	char device[64];
	struct slot active, idle;	/* what the firmware starts, and the other one */
};

bool find_slots(const unsigned char guid[GUID_BYTES], int patience_ms, bool writing,
		struct slots *slots);
void close_slots(struct slots *slots);
bool make_active(struct slots *slots, uint64_t start);
bool name_root(struct slots *slots, const struct slot *slot, const struct label *label);
bool fits(const struct slot *slot, const struct label *label);
uint64_t place(const struct slot *slot, const struct label *label, uint64_t at, size_t *length);
bool mount_slot(const struct slots *slots, const struct slot *slot, const char *path);
bool read_label(const struct slots *slots, const struct slot *slot, struct label *label);
bool write_label(const struct slots *slots, const struct slot *slot, const struct label *label);

/* signature.c: who made an update. */

bool is_trusted(const struct label *label);

/* handover.c: from this kernel to another one. */

bool load_kernel(const char *kernel, const char *initramfs, const char *cmdline);
bool hash_file(const char *path, unsigned char sum[HASH_BYTES]);

#endif
