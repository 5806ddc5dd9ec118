// SPDX-License-Identifier: GPL-2.0-only
/*
 * The time, by SNTP (RFC 5905, 14): for a machine that no tool tells it.  The first answer
 * sets the clock; later ones have the kernel slew it (its phase-locked loop, adjtimex(2)),
 * and it is asked the less often the better it keeps the time.
 *
 * A server that is wrong cannot be told from one that is right: there is no comparing
 * several.  The next one is asked if one does not answer, or not as it should.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>
#include "network.h"

#define NTP_PORT	123
#define DNS_PORT	53
#define MAX_NAME	128
#define SECOND		1000000000ll
#define UNIX_EPOCH	2208988800ll	/* in seconds since 1900 */
/* 7.2: between 64 s and 1024 s as powers of two. */
#define FIRST_POLL	6
#define LAST_POLL	10
#define FIRST_RETRY	3
#define ANSWER_MS	2000
/* How far the kernel slews (kernel/time/ntp.c, MAXPHASE is 0.5 s); what is less is a good clock. */
#define SLEW_MOST	(SECOND * 2 / 5)
#define GOOD_OFFSET	(SECOND / 100)
/* What is further off after the start is believed when it has been said so often. */
#define STEP_VOTES	3
/* The machine was made after 2024: its servers' time is later. */
#define EARLIEST	(1704067200 * SECOND)
/* 7.3: farther from a source of time than this, a server has none. */
#define FARTHEST	(16 << 16)

struct packet {
	uint8_t flags;		/* leap, version, mode */
	uint8_t stratum;
	int8_t poll, precision;
	uint32_t root_delay, root_dispersion, reference;
	uint64_t reference_time, originate, receive, transmit;
};

_Static_assert(sizeof(struct packet) == 48, "RFC 5905, 7.3");

enum { CLIENT = 4 << 3 | 3, SERVER_MODE = 4 };

/* Told by address, or by a name that is looked up. */
static struct server {
	char name[MAX_NAME];
	struct ip ip;
} servers[MAX_NTP];
static int nservers, current;
static bool configured_servers, started;

/* What is being looked up: a question that has been sent, and the family that it is about; 0 for none. */
static uint8_t question[DNS_PACKET];
static size_t question_length;
static int asked_family, name_server_number;

static uint64_t cookie;
static long long asked_at;
static bool waiting, is_set;
static int poll_exponent = FIRST_POLL, votes;
static int failures, rounds;	/* of one server after the other, and of all of them */

static void step(struct service *service);

static struct service service = { .fd = -1, .due = NEVER, .step = step };

static long long clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * SECOND + now.tv_nsec;
}

/* RFC 4330, 3: without its first bit, a time is one after 2036. */
static long long to_unix(uint64_t stamp)
{
	uint64_t value = be64toh(stamp);
	long long seconds = value >> 32;

	if (!(seconds & 0x80000000))
		seconds += 1ll << 32;
	return (seconds - UNIX_EPOCH) * SECOND + (long long)((value & 0xffffffff) * SECOND >> 32);
}

static void give_up(void)
{
	if (service.fd >= 0)
		close(service.fd);
	service.fd = -1;
	waiting = false;
	asked_family = 0;
}

/* Connected, so that only the server's answers come; on a port that nobody knows. */
static bool open_socket(const struct ip *ip, int port, int scope)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = ip->v6, .sin6_scope_id = scope };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = ip->v4 };

	service.fd = socket(ip->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return service.fd >= 0 &&
		!(ip->family == AF_INET6 ? connect(service.fd, (struct sockaddr *)&six, sizeof(six)) :
		  connect(service.fd, (struct sockaddr *)&four, sizeof(four)));
}

/* A network that is not there is a packet that got lost, in what follows. */
static void expect_answer(void)
{
	give_up();
	waiting = true;
	service.due = now_ms() + ANSWER_MS;
}

/* What the server sends back need not be our time, and is better no one's guess. */
static void ask_time(const struct ip *ip)
{
	struct packet packet = { .flags = CLIENT };

	expect_answer();
	getrandom(&cookie, sizeof(cookie), GRND_INSECURE);
	packet.transmit = cookie;
	asked_at = clock_now();
	if (open_socket(ip, NTP_PORT, 0))
		send(service.fd, &packet, sizeof(packet), 0);
}

/* Of the name servers one after the other. */
static void look_up(const char *name, int family)
{
	const char *text = name_server(name_server_number);
	char address[INET6_ADDRSTRLEN + IF_NAMESIZE], *scope;
	struct ip ip;

	expect_answer();
	asked_family = family;
	question_length = make_question(question, random_number(), name, family);
	if (!text) {
		name_server_number = 0;
		text = name_server(0);
	}
	if (!text || !question_length)
		return;
	strcpy(address, text);
	scope = strchr(address, '%');
	if (scope)
		*scope++ = 0;
	if (parse_ip(address, &ip) && open_socket(&ip, DNS_PORT, scope ? if_nametoindex(scope) : 0))
		send(service.fd, question, question_length, 0);
}

static void ask(void)
{
	const struct server *server = &servers[current];

	if (server->ip.family)
		ask_time(&server->ip);
	else
		look_up(server->name, AF_INET);
}

/* The next server at once; all of them later, and later still the next time. */
static void ask_another(void)
{
	/* A name may have got other addresses, which another server knows. */
	if (asked_family)
		name_server_number++;
	if (servers[current].name[0])
		servers[current].ip.family = 0;
	give_up();
	current = (current + 1) % nservers;
	if (++failures < nservers) {
		ask();
		return;
	}
	failures = 0;
	if (rounds < LAST_POLL - FIRST_RETRY)
		rounds++;
	service.due = now_ms() + (1000l << (FIRST_RETRY + rounds));
}

static void set_clock_by(long long offset)
{
	struct timex change = { .modes = ADJ_SETOFFSET | ADJ_NANO };

	change.time.tv_sec = offset / SECOND;
	change.time.tv_usec = offset % SECOND;
	if (change.time.tv_usec < 0) {
		change.time.tv_sec--;
		change.time.tv_usec += SECOND;
	}
	if (adjtimex(&change) < 0)
		say("init: the clock: %s\n", strerror(errno));
}

static void slew_clock_by(long long offset)
{
	struct timex change = {
		.modes = ADJ_OFFSET | ADJ_STATUS | ADJ_TIMECONST | ADJ_NANO | ADJ_MAXERROR | ADJ_ESTERROR,
		.offset = offset,
		.status = STA_PLL,
		/* RFC 5905's is the poll's power of two; the kernel's, with nanoseconds, is four less. */
		.constant = poll_exponent - 4,
	};

	if (adjtimex(&change) < 0)
		say("init: the clock: %s\n", strerror(errno));
}

static void use(long long offset)
{
	long long size = offset < 0 ? -offset : offset;

	if (size > SLEW_MOST && is_set && ++votes < STEP_VOTES) {
		/* Asked again soon, it may turn out to have been a late packet. */
		poll_exponent = FIRST_POLL;
		return;
	}
	if (!is_set || size > SLEW_MOST)
		set_clock_by(offset);
	else
		slew_clock_by(offset);
	votes = 0;
	is_set = true;
	if (size > GOOD_OFFSET)
		poll_exponent = FIRST_POLL;
	else if (poll_exponent < LAST_POLL)
		poll_exponent++;
}

/* RFC 5905, 7.3, 8, 14: what is no answer to our question, and what is one that nobody should go by. */
static bool is_answer(const struct packet *packet)
{
	return (packet->flags & 7) == SERVER_MODE && packet->originate == cookie;
}

static bool is_sane(const struct packet *packet)
{
	uint32_t distance = ntohl(packet->root_delay) / 2 + ntohl(packet->root_dispersion);

	return packet->flags >> 6 != 3 && packet->stratum >= 1 && packet->stratum < 16 &&
		packet->transmit && packet->receive && ntohl(packet->root_delay) < FARTHEST &&
		distance < FARTHEST && to_unix(packet->transmit) >= EARLIEST;
}

static void take_answer(const struct packet *packet, long long now)
{
	long long receive = to_unix(packet->receive), transmit = to_unix(packet->transmit);
	long long delay = (now - asked_at) - (transmit - receive);

	if (!is_answer(packet))
		return;
	cookie = 0;
	/* A stratum of 0 is a "kiss-o'-death" (7.4): another one, and this one later. */
	if (!is_sane(packet) || transmit < receive || delay < -SECOND / 100 || delay > 16 * SECOND) {
		ask_another();
		return;
	}
	give_up();
	failures = rounds = 0;
	use((receive - asked_at) / 2 + (transmit - now) / 2);
	service.due = now_ms() + (1000l << poll_exponent);
}

static void read_time(void)
{
	struct packet packet;
	long size = recv(service.fd, &packet, sizeof(packet), MSG_DONTWAIT);
	long long now = clock_now();

	if (size == sizeof(packet))
		take_answer(&packet, now);
	else if (size < 0 && errno != EAGAIN)
		/* Nobody is there. */
		ask_another();
}

/* RFC 3596: addresses of IPv6 are another question. */
static void read_name(void)
{
	struct server *server = &servers[current];
	struct ip ip = { .family = asked_family };
	uint8_t packet[DNS_PACKET];
	long size = recv(service.fd, packet, sizeof(packet), MSG_DONTWAIT);

	if (size < 0 && errno == EAGAIN)
		return;
	switch (size < 0 ? ANSWER_NONE : read_answer(packet, size, question, question_length, &ip)) {
	case ANSWER_TO_OTHERS:
		break;
	case ANSWER_NONE:
		if (size >= 0 && asked_family == AF_INET)
			look_up(server->name, AF_INET6);
		else
			ask_another();
		break;
	case ANSWER_FOUND:
		server->ip = ip;
		ask_time(&ip);
		break;
	}
}

static void step(struct service *this)
{
	if (this->fd >= 0 && asked_family)
		read_name();
	else if (this->fd >= 0)
		read_time();
	if (now_ms() < this->due)
		return;
	if (waiting)
		ask_another();
	else
		ask();
}

/* By name, or by address.  Those of the configuration are asked rather than those of DHCP. */
void add_time_server(const char *name, const struct ip *ip, bool configured)
{
	struct server server = { .name = "" };
	int i;

	if (have_host() || (!configured && configured_servers))
		return;
	if (configured && !configured_servers)
		nservers = 0;
	configured_servers |= configured;
	if (ip)
		server.ip = *ip;
	else if (strlen(name) < sizeof(server.name))
		strcpy(server.name, name);
	else
		return;
	for (i = 0; i < nservers; i++)
		if (ip ? !memcmp(&servers[i].ip, ip, sizeof(*ip)) : !strcmp(servers[i].name, name))
			return;
	if (nservers == MAX_NTP)
		return;
	servers[nservers++] = server;
	if (started && !waiting && !is_set)
		ask();
}

/* The network is there. */
void start_clock(void)
{
	if (have_host())
		return;
	add_service(&service);
	started = true;
	if (nservers)
		ask();
}

/* Whether the start may wait a little: a server has been asked and has not answered. */
bool awaits_time(void)
{
	return waiting && !is_set;
}
