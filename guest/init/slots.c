// SPDX-License-Identifier: GPL-2.0-only
/*
 * The disk that the machine starts from, if it takes updates: two slots, each with a
 * boot loader, a kernel and its files, and a label at its end.  Firmware starts what
 * the first partition is; the other slot is the second one.  To change them, the two
 * exchange their places in the partition table and nothing else, so what a firmware
 * remembers of the first one stays right.
 *
 * The table (UEFI specification, 5.3) is there twice, each with its own sum.  The
 * copy at the disk's end is written first.  Whenever the power fails, one of the two
 * is whole, and says either the old or the new.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <unistd.h>
#include "init.h"
#include "update.h"

#define NENTRIES	128

/* Where src/containers/slots.ts has the partitions: the two slots, and a root file system in each. */
enum { ACTIVE, IDLE, FIRST_ROOT, SECOND_ROOT };

struct table {
	struct {
		char magic[8];
		uint32_t revision, size, sum, reserved;
		uint64_t here, other, first, last;
		unsigned char guid[GUID_BYTES];
		uint64_t entries_at;
		uint32_t nentries, entry_bytes, entries_sum;
		unsigned char rest[SECTOR - 92];
	} __attribute__((packed)) header;
	struct {
		unsigned char type[GUID_BYTES], guid[GUID_BYTES];
		uint64_t first, last, attributes;
		unsigned char name[72];
	} __attribute__((packed)) entries[NENTRIES];
};

#define ENTRIES_BYTES	(sizeof(((struct table *)NULL)->entries))
#define HEADER_BYTES	92
#define PRIMARY		SECTOR

static uint32_t crc32(const void *data, size_t length)
{
	const unsigned char *byte = data;
	uint32_t crc = ~0u;
	int bit;

	while (length--) {
		crc ^= *byte++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static uint32_t header_sum(const struct table *table)
{
	unsigned char header[HEADER_BYTES];

	memcpy(header, &table->header, sizeof(header));
	memset(header + 16, 0, 4);
	return crc32(header, sizeof(header));
}

static bool is_whole(const struct table *table)
{
	return !memcmp(table->header.magic, "EFI PART", 8) && table->header.size == HEADER_BYTES &&
		table->header.nentries == NENTRIES &&
		table->header.entry_bytes == sizeof(table->entries[0]) &&
		table->header.sum == header_sum(table) &&
		table->header.entries_sum == crc32(table->entries, ENTRIES_BYTES);
}

static bool read_primary(int disk, struct table *table)
{
	return pread(disk, table, sizeof(*table), PRIMARY) == sizeof(*table) && is_whole(table) &&
		table->header.entries_at == 2;
}

/* The copy has its entries before its head.  What is returned is as the first one would be. */
static bool read_copy(int disk, struct table *table)
{
	off_t end = lseek(disk, 0, SEEK_END) / SECTOR - 1;

	if (pread(disk, &table->header, SECTOR, end * SECTOR) != SECTOR ||
	    pread(disk, table->entries, ENTRIES_BYTES, end * SECTOR - ENTRIES_BYTES) != ENTRIES_BYTES ||
	    !is_whole(table))
		return false;
	table->header.other = end;
	table->header.here = 1;
	table->header.entries_at = 2;
	return true;
}

static bool write_all(int disk, const void *data, size_t length, off_t at)
{
	return pwrite(disk, data, length, at) == (ssize_t)length && fsync(disk) == 0;
}

static bool write_table(int disk, struct table *table)
{
	struct table copy;
	off_t end = table->header.other;

	table->header.entries_sum = crc32(table->entries, ENTRIES_BYTES);
	table->header.sum = header_sum(table);
	copy = *table;
	copy.header.here = end;
	copy.header.other = 1;
	copy.header.entries_at = end - ENTRIES_BYTES / SECTOR;
	copy.header.sum = header_sum(&copy);
	return write_all(disk, copy.entries, ENTRIES_BYTES, end * SECTOR - ENTRIES_BYTES) &&
		write_all(disk, &copy.header, SECTOR, end * SECTOR) &&
		write_all(disk, table, sizeof(*table), PRIMARY);
}

/* False if it is of no disk of ours, or somebody has made other partitions on it. */
static bool read_table(int disk, struct table *table)
{
	return read_primary(disk, table) || read_copy(disk, table);
}

/* The first slot on the disk has the first root file system, whichever of them is active. */
static int root_of(const struct table *table, int number)
{
	bool first = table->entries[number].first <= table->entries[!number].first;

	return first ? FIRST_ROOT : SECOND_ROOT;
}

static uint64_t bytes_of(const struct table *table, int number)
{
	uint64_t first = table->entries[number].first;

	return first ? (table->entries[number].last + 1 - first) * SECTOR : 0;
}

static struct slot slot_of(const struct table *table, int number)
{
	int root = root_of(table, number);

	return (struct slot) {
		.start = table->entries[number].first * SECTOR, .bytes = bytes_of(table, number),
		.root_start = table->entries[root].first * SECTOR, .root_bytes = bytes_of(table, root),
	};
}

static bool open_disk(const char *device, const unsigned char guid[GUID_BYTES], bool writing,
		      struct slots *slots)
{
	struct table table;
	int disk = open(device, (writing ? O_RDWR : O_RDONLY) | O_CLOEXEC);

	if (disk < 0)
		return false;
	if (!read_table(disk, &table) || memcmp(table.header.guid, guid, GUID_BYTES) ||
	    slot_of(&table, ACTIVE).bytes != slot_of(&table, IDLE).bytes) {
		close(disk);
		return false;
	}
	*slots = (struct slots) {
		.disk = disk, .active = slot_of(&table, ACTIVE), .idle = slot_of(&table, IDLE),
	};
	snprintf(slots->device, sizeof(slots->device), "%s", device);
	return true;
}

/* The disk of this GUID, which may still be to come; false without it. */
bool find_slots(const unsigned char guid[GUID_BYTES], int patience_ms, bool writing,
		struct slots *slots)
{
	bool found = false;

	if (patience_ms)
		watch_devices();
	for (;;) {
		DIR *all = opendir("/sys/block");
		struct dirent *entry;
		char device[64];

		while (all && !found && (entry = readdir(all))) {
			if (entry->d_name[0] == '.' || strlen(entry->d_name) > 32)
				continue;
			snprintf(device, sizeof(device), "/dev/%s", entry->d_name);
			found = open_disk(device, guid, writing, slots);
		}
		if (all)
			closedir(all);
		if (found || !patience_ms || !await_device(patience_ms))
			return found;
	}
}

void close_slots(struct slots *slots)
{
	close(slots->disk);
	slots->disk = -1;
}

/* Has the firmware start this slot from now on. */
bool make_active(struct slots *slots, uint64_t start)
{
	struct table table;
	uint64_t first, last;

	if (start == slots->active.start)
		return true;
	if (start != slots->idle.start || !read_table(slots->disk, &table))
		return false;
	first = table.entries[ACTIVE].first;
	last = table.entries[ACTIVE].last;
	table.entries[ACTIVE].first = table.entries[IDLE].first;
	table.entries[ACTIVE].last = table.entries[IDLE].last;
	table.entries[IDLE].first = first;
	table.entries[IDLE].last = last;
	if (!write_table(slots->disk, &table))
		return false;
	slots->active = slot_of(&table, ACTIVE);
	slots->idle = slot_of(&table, IDLE);
	return true;
}

/* The kernel of an update finds its root file system by the name of the partition. */
bool name_root(struct slots *slots, const struct slot *slot, const struct label *label)
{
	struct table table;
	int root;

	if (!label->root_at)
		return true;
	if (!read_table(slots->disk, &table))
		return false;
	root = root_of(&table, slot->start == slots->active.start ? ACTIVE : IDLE);
	memcpy(table.entries[root].guid, label->root, GUID_BYTES);
	return write_table(slots->disk, &table);
}

bool fits(const struct slot *slot, const struct label *label)
{
	uint64_t boot = label->root_at ? label->root_at : label->bytes;

	return boot <= label->bytes && boot <= slot->bytes - LABEL_BYTES &&
		label->bytes - boot <= slot->root_bytes;
}

/* Where on the disk the byte at `at` of an update goes, and how many go behind it. */
uint64_t place(const struct slot *slot, const struct label *label, uint64_t at, size_t *length)
{
	uint64_t boot = label->root_at ? label->root_at : label->bytes;
	uint64_t left = (at < boot ? boot : label->bytes) - at;

	if (*length > left)
		*length = left;
	return at < boot ? slot->start + at : slot->root_start + (at - boot);
}

/* The kernel's name of the slot's partition: what it found when it started. */
bool mount_slot(const struct slots *slots, const struct slot *slot, const char *path)
{
	size_t length = strlen(slots->device);
	char device[80];

	snprintf(device, sizeof(device), "%s%s%d", slots->device,
		 isdigit((unsigned char)slots->device[length - 1]) ? "p" : "",
		 slot->start == slots->active.start ? 1 : 2);
	return mount(device, path, "vfat", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0;
}

static off_t label_at(const struct slot *slot)
{
	return slot->start + slot->bytes - LABEL_BYTES;
}

/* False if nothing was ever put there by an update, or not to its end. */
bool read_label(const struct slots *slots, const struct slot *slot, struct label *label)
{
	return pread(slots->disk, label, sizeof(*label), label_at(slot)) == sizeof(*label) &&
		!memcmp(label->magic, LABEL_MAGIC, sizeof(label->magic)) && fits(slot, label);
}

bool write_label(const struct slots *slots, const struct slot *slot, const struct label *label)
{
	return write_all(slots->disk, label, sizeof(*label), label_at(slot));
}
