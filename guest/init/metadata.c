// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a cloud tells a machine about itself: its name, and variables and arguments of
 * the program.  Which cloud it is, the firmware says (DMI); a disk with the label
 * "cidata" says as much anywhere (cloud-init's NoCloud).  Nobody else is asked.
 *
 * User data are ours if their first line is "#ukl": then each line is "env NAME=VALUE",
 * "arg WORD", behind those of the image, "args WORD...", in place of those, or "host NAME".
 * What is wrong or late is said on the console, and the program starts without.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "init.h"

#define SERVICE		"169.254.169.254"
#define ANSWER_MAX	65536
/* For a question and its answer: a service that hangs is no reason to hang. */
#define PATIENCE_MS	5000

static char user_data[ANSWER_MAX + 1];

static bool wait_for(int fd, short events, long until)
{
	struct pollfd poller = { .fd = fd, .events = events };
	long left = until - now_ms();

	return left > 0 && poll(&poller, 1, left) == 1;
}

/* The bytes of an answer, its head included; -1 if it does not come in time. */
static long exchange(const char *request, char *answer, size_t size)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(80) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = 0;
	socklen_t error_size = sizeof(error);
	long until = now_ms() + PATIENCE_MS, n = -1;
	size_t length = 0;

	inet_pton(AF_INET, SERVICE, &at.sin_addr);
	if (fd < 0 || (connect(fd, (struct sockaddr *)&at, sizeof(at)) && errno != EINPROGRESS) ||
	    !wait_for(fd, POLLOUT, until) ||
	    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size) || error ||
	    send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
		goto out;
	/* HTTP/1.0: the end of the connection is the end of the answer. */
	while (length < size - 1) {
		n = -1;
		/* What is not whole is none. */
		if (!wait_for(fd, POLLIN, until))
			goto out;
		n = read(fd, answer + length, size - 1 - length);
		if (n <= 0)
			break;
		length += n;
	}
	answer[length] = 0;
	n = n < 0 || length == size - 1 ? -1 : (long)length;
out:
	close(fd);
	return n;
}

/* The body of a good answer, in a buffer that the next question takes; NULL otherwise. */
static char *ask(const char *method, const char *path, const char *header)
{
	static char answer[ANSWER_MAX];
	char request[1024], *body;
	int status = 0;

	snprintf(request, sizeof(request), "%s %s HTTP/1.0\r\nHost: " SERVICE "\r\n%s\r\n%s\r\n",
		 method, path, header, strcmp(method, "PUT") ? "" : "Content-Length: 0\r\n");
	if (exchange(request, answer, sizeof(answer)) < 0) {
		say("init: the metadata service does not answer: %s\n", path);
		return NULL;
	}
	body = strstr(answer, "\r\n\r\n");
	if (!body || sscanf(answer, "HTTP/%*s %d", &status) != 1 || status != 200)
		return NULL;
	return body + 4;
}

static void keep_name(struct spec *spec, const char *name)
{
	static char host[64];
	size_t length = name ? strcspn(name, ".\r\n ") : 0;

	if (length == 0 || length >= sizeof(host))
		return;
	memcpy(host, name, length);
	host[length] = 0;
	spec->hostname = host;
}

static void keep_user_data(const char *text)
{
	snprintf(user_data, sizeof(user_data), "%s", text ? text : "");
}

/* RFC 4648; what is no letter of it is left out. */
static void decode_base64(char *text)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned int bits = 0, count = 0;
	char *to = text;
	const char *at;

	for (; *text && *text != '='; text++) {
		at = strchr(letters, *text);
		if (!at)
			continue;
		bits = bits << 6 | (at - letters);
		if (++count % 4 == 1)
			continue;
		*to++ = bits >> (3 - (count - 1) % 4) * 2;
	}
	*to = 0;
}

/* docs.aws.amazon.com, "Use IMDSv2". */
static void ask_ec2(struct spec *spec)
{
	char *token = ask("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60"), header[512];

	if (!token)
		return;
	snprintf(header, sizeof(header), "X-aws-ec2-metadata-token: %.400s", token);
	keep_name(spec, ask("GET", "/latest/meta-data/local-hostname", header));
	keep_user_data(ask("GET", "/latest/user-data", header));
}

/* cloud.google.com, "View and query VM metadata". */
static void ask_gce(struct spec *spec)
{
	keep_name(spec, ask("GET", "/computeMetadata/v1/instance/hostname", "Metadata-Flavor: Google"));
	keep_user_data(ask("GET", "/computeMetadata/v1/instance/attributes/user-data", "Metadata-Flavor: Google"));
}

/* learn.microsoft.com, "Azure Instance Metadata Service". */
static void ask_azure(struct spec *spec)
{
#define COMPUTE(what) "/metadata/instance/compute/" what "?api-version=2021-02-01&format=text"
	keep_name(spec, ask("GET", COMPUTE("name"), "Metadata: true"));
	keep_user_data(ask("GET", COMPUTE("userData"), "Metadata: true"));
	decode_base64(user_data);
}

/* As their documentation has it; Azure's vendor is that of any Hyper-V. */
static const struct cloud {
	const char *file, *text;
	void (*ask)(struct spec *spec);
} clouds[] = {
	{ "/sys/class/dmi/id/sys_vendor", "Amazon EC2", ask_ec2 },
	{ "/sys/class/dmi/id/sys_vendor", "Google", ask_gce },
	{ "/sys/class/dmi/id/chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77", ask_azure },
};

static bool read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	long n = fd < 0 ? -1 : read(fd, text, size - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	return n >= 0;
}

static bool seeded;	/* a disk has been found, whatever was on it */

/* A machine that has both is set up as the disk says. */
static void take_network(struct spec *spec, bool in_time)
{
	static char text[ANSWER_MAX];
	static struct network network;
	char problem[128];

	if (!read_file("/run/cidata/network-config", text, sizeof(text)) || !text[0])
		return;
	if (!in_time)
		say("init: network-config: its disk has come too late\n");
	else if (parse_network_config(text, &network, problem, sizeof(problem)))
		spec->network = network;
	else
		say("init: network-config: %s: the image's own network is used\n", problem);
}

/*
 * cloud-init's "NoCloud", before the network is set up, which it may have something to say
 * about.  Of meta-data, which is YAML, we want one line.
 */
static void take_seed(struct spec *spec, bool in_time)
{
	static char meta[ANSWER_MAX];
	const char *where = "/run/cidata";
	char device[64], *name;

	if (!find_seed(device, sizeof(device)))
		return;
	seeded = true;
	mkdir("/run", 0755);
	mkdir(where, 0755);
	if (mount(device, where, "iso9660", MS_RDONLY, NULL) && mount(device, where, "vfat", MS_RDONLY, NULL)) {
		say("init: %s: %s\n", device, strerror(errno));
		return;
	}
	if (read_file("/run/cidata/meta-data", meta, sizeof(meta))) {
		name = strstr(meta, "local-hostname:");
		if (name && (name == meta || name[-1] == '\n')) {
			name += strlen("local-hostname:");
			keep_name(spec, name + strspn(name, " \""));
		}
	}
	read_file("/run/cidata/user-data", user_data, sizeof(user_data));
	take_network(spec, in_time);
	umount2(where, 0);
}

void read_seed(struct spec *spec)
{
	take_seed(spec, true);
}

/* Words with blanks between them, in place of those that may be replaced. */
static void set_arguments(struct spec *spec, char *text)
{
	char *word;

	while (spec->nargs > spec->nfixed)
		spec->args[--spec->nargs] = NULL;
	while ((word = strsep(&text, " \t")))
		if (*word && spec->nargs < MAX_WORDS - 1)
			spec->args[spec->nargs++] = word;
}

static void obey_user_data(struct spec *spec)
{
	char *line, *rest = user_data;

	if (strncmp(user_data, "#ukl\n", 5) && strncmp(user_data, "#ukl\r\n", 6))
		return;
	strsep(&rest, "\n");
	while ((line = strsep(&rest, "\n"))) {
		line[strcspn(line, "\r")] = 0;
		if (!strncmp(line, "env ", 4) && strchr(line, '=')) {
			set_variable(spec, line + 4);
		} else if (!strncmp(line, "arg ", 4) && spec->nargs < MAX_WORDS - 1) {
			spec->args[spec->nargs++] = line + 4;
		} else if (!strncmp(line, "args", 4) && (!line[4] || line[4] == ' ')) {
			set_arguments(spec, line + 4);
		} else if (!strncmp(line, "host ", 5)) {
			keep_name(spec, line + 5);
		} else if (line[0] && line[0] != '#') {
			say("init: user data: '%.60s' is not known\n", line);
		}
	}
}

/* Takes what a cloud says, once the network is there, or the disk. */
void read_metadata(struct spec *spec)
{
	char text[128];
	size_t i;

	if (!seeded)
		take_seed(spec, false);
	for (i = 0; !seeded && i < sizeof(clouds) / sizeof(clouds[0]); i++) {
		read_file(clouds[i].file, text, sizeof(text));
		text[strcspn(text, "\n")] = 0;
		if (!strcmp(text, clouds[i].text))
			clouds[i].ask(spec);
	}
	obey_user_data(spec);
	if (spec->hostname)
		sethostname(spec->hostname, strlen(spec->hostname));
}
