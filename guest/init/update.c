// SPDX-License-Identifier: GPL-2.0-only
/*
 * Updates of a machine that starts from our disk.  An update goes this way:
 *
 *  1. The program runs /.ukl/update, which is this file's update_command(): it writes
 *     the update into the idle slot, its label last, and asks for an end of the program.
 *  2. The machine restarts: by kexec into the stage, which is this kernel with init and
 *     nothing else, loaded before the program started (keep_stage()); or by its firmware
 *     into this image, where there is not the memory to keep one.
 *  3. init finds the new label (try_update()), notes that it was tried, looks at sum and
 *     signature, and starts it by kexec.  Nobody else has run since that kernel began,
 *     so root in ring 3 has no say in which kernel is loaded.
 *  4. Once the program has proved good (watch_trial()), the firmware is told to start
 *     this slot.  Whatever ends the machine before that, a panic, a watchdog, the
 *     program's end, a power cut, ends in the firmware, which starts the old one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include "init.h"
#include "update.h"

/* How long to wait for the disk that we were started from. */
#define PATIENCE_MS	30000
/* How often the program is asked whether it is good. */
#define TRIAL_MS	1000
/* The part of the memory that a stage may take. */
#define STAGE_SHARE	8

#define SETTINGS	"/.ukl/updates"
#define STAGE		"/.ukl/stage"
#define MOUNTED		"/.ukl/slot"
#define GOOD		"/run/ukl/good"

static struct {
	bool says;			/* the program itself says that it is good, or else its running so long does */
	int seconds;
	unsigned char disk[GUID_BYTES];
	unsigned char kernel[HASH_BYTES];
} settings;

static bool staged;
static long trial_end;

static bool parse_hex(const char *text, unsigned char *bytes, size_t length)
{
	unsigned int byte;
	size_t i;

	for (i = 0; i < length; i++) {
		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return false;
		bytes[i] = byte;
	}
	return true;
}

/* False in an image that takes no updates. */
static bool read_settings(void)
{
	char how[8], disk[2 * GUID_BYTES + 1], kernel[2 * HASH_BYTES + 1];
	FILE *file = fopen(SETTINGS, "re");
	bool ok;

	if (!file)
		return false;
	ok = fscanf(file, "%7s %d %32s %64s", how, &settings.seconds, disk, kernel) == 4 &&
		parse_hex(disk, settings.disk, GUID_BYTES) &&
		parse_hex(kernel, settings.kernel, HASH_BYTES);
	settings.says = !strcmp(how, "says");
	fclose(file);
	return ok;
}

/* Where the slot begins that runs on trial, as start_slot() has said; 0 for the firmware's. */
static uint64_t trial_slot(void)
{
	const char *word = getenv("UKL_TRIAL");

	return word ? strtoull(word, NULL, 10) : 0;
}

static bool read_all(int fd, void *data, size_t length)
{
	size_t have = 0;
	long n;

	while (have < length && (n = read(fd, (char *)data + have, length - have)) > 0)
		have += n;
	return have == length;
}

/* The sum of what a slot holds; with a file, of what is copied from there into it.  False, with errno, if there is less. */
static bool sum_slot(const struct slots *slots, const struct slot *slot, const struct label *label,
		     int from, unsigned char sum[HASH_BYTES])
{
	static unsigned char data[1 << 20];
	struct sha256 hash;
	uint64_t at, where;
	size_t n;

	sha256_begin(&hash);
	for (at = 0; at < label->bytes; at += n) {
		n = sizeof(data);
		where = place(slot, label, at, &n);
		errno = 0;
		if (from < 0 ? pread(slots->disk, data, n, where) != (ssize_t)n :
		    !read_all(from, data, n) || pwrite(slots->disk, data, n, where) != (ssize_t)n)
			return false;
		sha256_add(&hash, data, n);
	}
	sha256_end(&hash, sum);
	return from < 0 || fsync(slots->disk) == 0;
}

static bool is_intact(const struct slots *slots, const struct slot *slot, const struct label *label)
{
	unsigned char sum[HASH_BYTES];

	return sum_slot(slots, slot, label, -1, sum) &&
		!memcmp(sum, label->sum, HASH_BYTES) &&
		!memcmp(label->disk, settings.disk, GUID_BYTES);
}

static bool read_line(const char *path, char *line, size_t size)
{
	FILE *file = fopen(path, "re");
	bool ok = file && fgets(line, size, file);

	if (file)
		fclose(file);
	if (ok)
		line[strcspn(line, "\n")] = 0;
	return ok;
}

/* Loads the kernel of a slot that has been looked at. */
static bool load_slot(const struct slots *slots, const struct slot *slot)
{
	char words[2048], cmdline[2048 + 64];
	const char *initramfs = MOUNTED "/ukl/initrd";
	bool ok;

	if (!mount_slot(slots, slot, MOUNTED))
		return false;
	if (access(initramfs, F_OK))
		initramfs = NULL;
	ok = read_line(MOUNTED "/ukl/cmdline", words, sizeof(words));
	snprintf(cmdline, sizeof(cmdline), "%s UKL_TRIAL=%" PRIu64, words, slot->start);
	ok = ok && load_kernel(MOUNTED "/ukl/vmlinuz", initramfs, cmdline);
	umount2(MOUNTED, 0);
	return ok;
}

/* Does not return if the new image starts. */
static void start_slot(struct slots *slots, struct label *label)
{
	/* Whatever comes of it, comes once. */
	label->state = SLOT_TRIED;
	if (!write_label(slots, &slots->idle, label))
		say("init: %s: its label cannot be written: %s\n", label->version, strerror(errno));
	else if (!is_intact(slots, &slots->idle, label))
		say("init: %s: its sum is wrong\n", label->version);
	else if (!is_trusted(label))
		say("init: %s: not signed with the key of this image\n", label->version);
	else if (!name_root(slots, &slots->idle, label) || !load_slot(slots, &slots->idle))
		say("init: %s: its kernel cannot be loaded: %s\n", label->version, strerror(errno));
	else {
		say("init: %s: on trial\n", label->version);
		reboot(RB_KEXEC);
	}
}

/* Starts an update that waits for it; before anybody else has run. */
void try_update(void)
{
	bool stage = getenv("UKL_STAGE");
	struct slots slots;
	struct label label;

	if (!read_settings() || (trial_slot() && !stage))
		return;
	mount_kernel_files();
	if (!find_slots(settings.disk, PATIENCE_MS, true, &slots)) {
		say("init: no disk of this image's was found: no updates\n");
	} else {
		label.version[0] = 0;
		if (read_label(&slots, &slots.idle, &label)) {
			label.version[sizeof(label.version) - 1] = 0;
			if (label.state == SLOT_NEW)
				start_slot(&slots, &label);
			else if (label.state == SLOT_TRIED)
				say("init: %s was tried, and is not used\n", label.version);
		}
		close_slots(&slots);
	}
	if (stage)
		reboot(RB_AUTOBOOT);
}

/* What a loaded kernel takes: Documentation/arch/x86/boot.rst, init_size. */
static uint64_t kernel_bytes(const char *path)
{
	uint32_t bytes = UINT32_MAX;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && pread(fd, &bytes, sizeof(bytes), 0x260) != sizeof(bytes))
		bytes = UINT32_MAX;
	close(fd);
	return bytes;
}

static bool load_stage(void)
{
	char words[2048], cmdline[2048 + 64];
	unsigned char sum[HASH_BYTES];
	struct sysinfo info;

	if (sysinfo(&info) ||
	    kernel_bytes(MOUNTED "/ukl/vmlinuz") > info.totalram * info.mem_unit / STAGE_SHARE)
		return false;
	/* The disk is anybody's. */
	if (!hash_file(MOUNTED "/ukl/vmlinuz", sum) || memcmp(sum, settings.kernel, HASH_BYTES) ||
	    !read_line("/proc/cmdline", words, sizeof(words)))
		return false;
	snprintf(cmdline, sizeof(cmdline), "%s loglevel=3 rdinit=/.ukl/init UKL_STAGE=1", words);
	return load_kernel(MOUNTED "/ukl/vmlinuz", STAGE, cmdline);
}

/* Spares a later update the way through the firmware. */
void keep_stage(void)
{
	struct slots slots;
	const struct slot *own;

	if (!settings.seconds || !find_slots(settings.disk, 0, false, &slots))
		return;
	own = trial_slot() == slots.idle.start ? &slots.idle : &slots.active;
	if (mount_slot(&slots, own, MOUNTED)) {
		staged = load_stage();
		umount2(MOUNTED, 0);
	}
	close_slots(&slots);
}

static void prove_good(void)
{
	struct slots slots;
	struct label label;

	if (!find_slots(settings.disk, 0, true, &slots) || !make_active(&slots, trial_slot())) {
		say("init: the partitions cannot be changed: %s\n", strerror(errno));
		return;
	}
	if (read_label(&slots, &slots.active, &label)) {
		label.state = SLOT_GOOD;
		write_label(&slots, &slots.active, &label);
		say("init: %.*s: good\n", (int)sizeof(label.version), label.version);
	}
	close_slots(&slots);
}

static void watch_trial(struct service *trial)
{
	bool over = now_ms() >= trial_end;

	trial->due = now_ms() + TRIAL_MS;
	if (access(GOOD, F_OK) == 0 || (over && !settings.says)) {
		trial->due = NEVER;
		prove_good();
	} else if (over) {
		say("init: the program has not said in %d s that it is good\n", settings.seconds);
		finish();
	}
}

/* The program has started. */
void begin_trial(void)
{
	static struct service trial = { .fd = -1, .step = watch_trial };

	if (!settings.seconds || !trial_slot())
		return;
	trial_end = now_ms() + settings.seconds * 1000L;
	trial.due = now_ms() + TRIAL_MS;
	add_service(&trial);
}

static bool update_waits(void)
{
	struct slots slots;
	struct label label;
	bool waits;

	if (!find_slots(settings.disk, 0, false, &slots))
		return false;
	waits = read_label(&slots, &slots.idle, &label) && label.state == SLOT_NEW;
	close_slots(&slots);
	return waits;
}

/* The tool takes a restart for the end of its run. */
void restart(void)
{
	if (staged && !have_host() && update_waits())
		reboot(RB_KEXEC);
	reboot(RB_AUTOBOOT);
}

/* The rest is the program's: /.ukl/update. */

static int refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int refuse(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	fprintf(stderr, "update: ");
	vfprintf(stderr, format, list);
	fprintf(stderr, "\n");
	va_end(list);
	return 1;
}

/* As the kernel was told; our own environment is the program's. */
static bool runs_on_trial(const struct slots *slots)
{
	char words[2048], *word;

	if (!read_line("/proc/cmdline", words, sizeof(words)))
		return true;
	word = strstr(words, "UKL_TRIAL=");
	return word && strtoull(word + strlen("UKL_TRIAL="), NULL, 10) != slots->active.start;
}

static int take(int from, const char *name, struct slots *slots)
{
	static const struct label none;
	unsigned char sum[HASH_BYTES];
	struct label label;
	char more;

	if (flock(slots->disk, LOCK_EX | LOCK_NB))
		return refuse("another one is being written");
	if (runs_on_trial(slots))
		return refuse("this image has to prove good first");
	if (!read_all(from, &label, sizeof(label)) ||
	    memcmp(label.magic, LABEL_MAGIC, sizeof(label.magic)))
		return refuse("%s is no update: ukl build --container update makes one", name);
	label.version[sizeof(label.version) - 1] = 0;
	if (memcmp(label.disk, settings.disk, GUID_BYTES))
		return refuse("%s is %s, for images of another name", name, label.version);
	if (!fits(&slots->idle, &label))
		return refuse("%s is too large: a slot of this disk has room for %" PRIu64 " bytes, and %" PRIu64
			      " of a root file system", name, slots->idle.bytes - LABEL_BYTES, slots->idle.root_bytes);
	if (!is_trusted(&label))
		return refuse("%s is not signed with the key of this image", name);
	if (!write_label(slots, &slots->idle, &none) ||
	    !sum_slot(slots, &slots->idle, &label, from, sum))
		return refuse("%s: %s", name, errno ? strerror(errno) : "it is cut short");
	if (memcmp(sum, label.sum, HASH_BYTES) || read(from, &more, 1))
		return refuse("%s is damaged: its sum is wrong", name);
	label.state = SLOT_NEW;
	if (!write_label(slots, &slots->idle, &label))
		return refuse("%s", strerror(errno));
	fprintf(stderr, "update: %s is written\n", label.version);
	return 0;
}

int update_command(int argc, char **argv)
{
	bool later = argc > 1 && !strcmp(argv[1], "--later");
	const char *name = argc == 2 + later ? argv[1 + later] : NULL;
	struct slots slots;
	int from, status;

	/* A line is one write: who reads it may be somewhere else. */
	setlinebuf(stderr);
	if (!name || (name[0] == '-' && name[1])) {
		fprintf(stderr, "usage: /.ukl/update [--later] FILE\n"
			"Writes an update (ukl build --container update), - for standard input, and starts it\n"
			"in place of this image; --later leaves that to the next start of the machine.\n");
		return 2;
	}
	if (!read_settings())
		return refuse("this image takes none: updates in ukl.config");
	from = strcmp(name, "-") ? open(name, O_RDONLY | O_CLOEXEC) : 0;
	if (from < 0)
		return refuse("%s: %s", name, strerror(errno));
	if (!find_slots(settings.disk, 0, true, &slots))
		return refuse("no disk of this image's can be written here");
	status = take(from, name, &slots);
	close_slots(&slots);
	if (status == 0 && !later && kill(1, SIGTERM))
		return refuse("PID 1: %s", strerror(errno));
	return status;
}
