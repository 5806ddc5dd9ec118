// SPDX-License-Identifier: GPL-2.0-only
/*
 * A DHCP client (RFC 2131, options of RFC 2132): gets the address before the
 * program starts, and keeps it from the loop that init spends its life in.
 *
 * Left out of what the RFC says clients SHOULD do: the random wait before the
 * first message (4.4.1), which is for many machines that start at once; ARP for
 * the offered address (4.4.1); a DHCPRELEASE at the end (4.4.6).  Options that
 * overflow into 'file' and 'sname' (RFC 2132, 9.3) are not read: those that we
 * ask for do not.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "init.h"

#define SERVER_PORT	67
#define CLIENT_PORT	68
#define COOKIE		0x63825363
#define BROADCAST	0x8000
#define FOREVER		0xffffffff	/* a lease's length (3.3) */
/* 4.1: wait 4 s for an answer, then twice as long each time, up to 64 s; give or take 1 s. */
#define FIRST_WAIT_MS	4000
#define LAST_WAIT_MS	64000
/* 4.4.5: a renewal is not asked for more often than this. */
#define RENEWAL_WAIT_MS	60000
/* How many waits a DHCPREQUEST is worth (3.1, 5: a total delay of 60 s), and the whole start. */
#define TRIES		4

enum { BOOTREQUEST = 1, BOOTREPLY };
enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK };
enum {
	OPT_PAD = 0, OPT_MASK = 1, OPT_ROUTER = 3, OPT_DNS = 6, OPT_HOSTNAME = 12,
	OPT_ADDRESS = 50, OPT_LEASE = 51, OPT_TYPE = 53, OPT_SERVER = 54,
	OPT_WANTED = 55, OPT_RENEW = 58, OPT_REBIND = 59, OPT_END = 255
};

struct packet {
	uint8_t op, htype, hlen, hops;
	uint32_t xid;
	uint16_t secs, flags;
	struct in_addr ciaddr, yiaddr, siaddr, giaddr;
	uint8_t chaddr[16], sname[64], file[128];
	uint32_t cookie;
	uint8_t options[308];
};

_Static_assert(sizeof(struct packet) == 548, "what every server may send (RFC 2131, 2)");

/* RFC 2131, figure 5; REBINDING is RENEWING past `rebind`. */
enum state { SELECTING, REQUESTING, BOUND, RENEWING };

static struct {
	int fd;
	const char *interface;
	uint8_t mac[6];
	enum state state;
	uint32_t xid;
	int tries;		/* of this message */
	long next;		/* when to act if nothing comes; all times in ms */
	struct in_addr address, server;
	long rebind, end;	/* of the lease */
} dhcp = { .fd = -1 };

static uint32_t random_number(void)
{
	uint32_t number = 0;

	getrandom(&number, sizeof(number), GRND_INSECURE);
	return number;
}

/* NULL if it has none of at least this length. */
static const uint8_t *find_option(const struct packet *packet, size_t size, int code,
				  size_t least, size_t *length)
{
	const uint8_t *at = packet->options, *end = (const uint8_t *)packet + size;

	while (at < end && *at != OPT_END) {
		if (*at == OPT_PAD) {
			at++;
			continue;
		}
		if (end - at < 2 || end - at - 2 < at[1])
			break;
		if (*at == code) {
			*length = at[1];
			return *length >= least ? at + 2 : NULL;
		}
		at += 2 + at[1];
	}
	return NULL;
}

static uint32_t find_number(const struct packet *packet, size_t size, int code, uint32_t fallback)
{
	uint32_t number;
	size_t length;
	const uint8_t *value = find_option(packet, size, code, sizeof(number), &length);

	if (!value)
		return fallback;
	memcpy(&number, value, sizeof(number));
	return ntohl(number);
}

static struct in_addr find_address(const struct packet *packet, size_t size, int code)
{
	return (struct in_addr) { htonl(find_number(packet, size, code, 0)) };
}

static uint8_t *put(uint8_t *at, int code, const void *value, size_t length)
{
	*at++ = code;
	*at++ = length;
	memcpy(at, value, length);
	return at + length;
}

/* The message of this state, with what belongs into it by table 5 of RFC 2131. */
static void send_message(void)
{
	static const uint8_t wanted[] = {
		OPT_MASK, OPT_ROUTER, OPT_DNS, OPT_HOSTNAME, OPT_LEASE, OPT_RENEW, OPT_REBIND
	};
	struct packet packet = {
		.op = BOOTREQUEST, .htype = 1, .hlen = sizeof(dhcp.mac),
		.xid = dhcp.xid, .cookie = htonl(COOKIE),
	};
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(SERVER_PORT),
		.sin_addr.s_addr = htonl(INADDR_BROADCAST),
	};
	uint8_t type = dhcp.state == SELECTING ? DISCOVER : REQUEST, *at = packet.options;

	memcpy(packet.chaddr, dhcp.mac, sizeof(dhcp.mac));
	at = put(at, OPT_TYPE, &type, 1);
	if (dhcp.state == REQUESTING) {
		at = put(at, OPT_ADDRESS, &dhcp.address, sizeof(dhcp.address));
		at = put(at, OPT_SERVER, &dhcp.server, sizeof(dhcp.server));
	}
	if (dhcp.state == RENEWING) {
		packet.ciaddr = dhcp.address;
		if (now_ms() < dhcp.rebind)
			to.sin_addr = dhcp.server;
	} else {
		/* Without an address, what is sent to it does not arrive. */
		packet.flags = htons(BROADCAST);
	}
	at = put(at, OPT_WANTED, wanted, sizeof(wanted));
	*at = OPT_END;
	/* A link that is not up yet is a message that got lost. */
	sendto(dhcp.fd, &packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to));
}

static void send_and_wait(void)
{
	long wait = FIRST_WAIT_MS << dhcp.tries;

	send_message();
	if (wait < LAST_WAIT_MS)
		dhcp.tries++;
	dhcp.next = now_ms() + wait + (long)(random_number() % 2001) - 1000;
}

static void enter(enum state state)
{
	/* 4.4.1: a DHCPREQUEST has the number of the DHCPDISCOVER. */
	if (state != REQUESTING)
		dhcp.xid = random_number();
	dhcp.state = state;
	dhcp.tries = 0;
}

static void discover(void)
{
	enter(SELECTING);
	send_and_wait();
}

/* 4.4.5: once before the next limit is half way there, or in a minute. */
static void renew(void)
{
	long now = now_ms(), limit = now < dhcp.rebind ? dhcp.rebind : dhcp.end;
	long wait = (limit - now) / 2;

	send_message();
	if (wait < RENEWAL_WAIT_MS)
		wait = RENEWAL_WAIT_MS;
	dhcp.next = now + wait < limit ? now + wait : limit;
}

/* The address is somebody else's now: without one, until there is another. */
static void lose_lease(void)
{
	set_address(dhcp.interface, (struct in_addr) { 0 }, (struct in_addr) { 0 });
	dhcp.address.s_addr = 0;
	discover();
}

/* Only what a name may consist of: programs put it into commands and files. */
static void take_hostname(const struct packet *packet, size_t size)
{
	char name[65];
	size_t length;
	const uint8_t *value = find_option(packet, size, OPT_HOSTNAME, 1, &length);

	if (!value || length >= sizeof(name))
		return;
	memcpy(name, value, length);
	name[length] = 0;
	if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == length)
		sethostname(name, length);
}

static void take_name_servers(const struct packet *packet, size_t size)
{
	char texts[MAX_DNS][INET_ADDRSTRLEN];
	const char *servers[MAX_DNS];
	size_t length, i;
	const uint8_t *value = find_option(packet, size, OPT_DNS, 4, &length);

	if (!value)
		return;
	for (i = 0; i < MAX_DNS && i < length / 4; i++)
		servers[i] = inet_ntop(AF_INET, value + 4 * i, texts[i], sizeof(texts[i]));
	write_resolv_conf(servers, i);
}

/*
 * 3.1, 5: what the server says last is what counts.  Once the program runs, what
 * it has made of the interface is its own affair, and it has read the names.
 */
static void configure(const struct packet *packet, size_t size)
{
	struct in_addr mask = find_address(packet, size, OPT_MASK);
	struct in_addr router = find_address(packet, size, OPT_ROUTER);

	dhcp.address = packet->yiaddr;
	if (!set_address(dhcp.interface, dhcp.address, mask) && !program)
		fail(dhcp.interface);
	if (router.s_addr && !add_gateway(dhcp.interface, router) && !program)
		fail("route");
	if (program)
		return;
	take_hostname(packet, size);
	take_name_servers(packet, size);
}

/* 4.4.5: T1 and T2, by default at 0.5 and 0.875 of the lease. */
static void start_lease(const struct packet *packet, size_t size)
{
	uint32_t seconds = find_number(packet, size, OPT_LEASE, FOREVER);
	long now = now_ms(), length, renewal, rebinding;

	enter(BOUND);
	dhcp.next = dhcp.rebind = dhcp.end = LONG_MAX;
	if (seconds == FOREVER)
		return;
	if (seconds < 2)
		seconds = 2;	/* or we would do nothing else */
	length = seconds * 1000l;
	renewal = find_number(packet, size, OPT_RENEW, 0) * 1000l;
	rebinding = find_number(packet, size, OPT_REBIND, 0) * 1000l;
	if (renewal <= 0 || renewal >= rebinding || rebinding >= length) {
		renewal = length / 2;
		rebinding = length / 8 * 7;
	}
	dhcp.next = now + renewal;
	dhcp.rebind = now + rebinding;
	dhcp.end = now + length;
}

static void take_answer(const struct packet *packet, size_t size)
{
	struct in_addr server = find_address(packet, size, OPT_SERVER);
	size_t length;
	const uint8_t *value = find_option(packet, size, OPT_TYPE, 1, &length);
	uint8_t type = value ? *value : 0;

	if (dhcp.state == SELECTING && type == OFFER && packet->yiaddr.s_addr && server.s_addr) {
		dhcp.address = packet->yiaddr;
		dhcp.server = server;
		enter(REQUESTING);
		send_and_wait();
	} else if ((dhcp.state == REQUESTING || dhcp.state == RENEWING) && type == NAK) {
		lose_lease();
	} else if (dhcp.state == REQUESTING && type == ACK && packet->yiaddr.s_addr) {
		configure(packet, size);
		start_lease(packet, size);
	} else if (dhcp.state == RENEWING && type == ACK &&
		   packet->yiaddr.s_addr == dhcp.address.s_addr) {
		/* Past T2 it may be another server's. */
		if (server.s_addr)
			dhcp.server = server;
		start_lease(packet, size);
	}
}

static void read_answers(void)
{
	struct packet packet;
	long size;

	while ((size = recv(dhcp.fd, &packet, sizeof(packet), MSG_DONTWAIT)) >= 0) {
		if (size >= (long)offsetof(struct packet, options) && packet.op == BOOTREPLY &&
		    packet.xid == dhcp.xid && packet.cookie == htonl(COOKIE) &&
		    !memcmp(packet.chaddr, dhcp.mac, sizeof(dhcp.mac)))
			take_answer(&packet, size);
	}
}

static void act_on_time(void)
{
	switch (dhcp.state) {
	case SELECTING:
		send_and_wait();
		break;
	case REQUESTING:
		if (dhcp.tries < TRIES)
			send_and_wait();
		else
			discover();
		break;
	case BOUND:
		enter(RENEWING);
		renew();
		break;
	case RENEWING:
		if (now_ms() < dhcp.end)
			renew();
		else
			lose_lease();
		break;
	}
}

/* -1 if nothing can come. */
int lease_socket(void)
{
	return dhcp.fd;
}

/* How long poll() may wait. */
int lease_wait_ms(void)
{
	long wait;

	if (dhcp.fd < 0 || dhcp.next == LONG_MAX)
		return -1;
	wait = dhcp.next - now_ms();
	return wait < 0 ? 0 : wait > INT_MAX ? INT_MAX : wait;
}

void keep_lease(void)
{
	if (dhcp.fd < 0)
		return;
	read_answers();
	if (now_ms() >= dhcp.next)
		act_on_time();
}

/* Returns with an address; the interface is up and has none yet. */
void acquire_lease(const char *interface)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(CLIENT_PORT) };
	struct ifreq ifr = { 0 };
	struct pollfd fd = { .events = POLLIN };
	long give_up = now_ms() + FIRST_WAIT_MS * ((1 << TRIES) - 1);
	int yes = 1;

	dhcp.interface = interface;
	dhcp.fd = fd.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	strncpy(ifr.ifr_name, interface, sizeof(ifr.ifr_name) - 1);
	if (ioctl(dhcp.fd, SIOCGIFHWADDR, &ifr) ||
	    setsockopt(dhcp.fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes)) ||
	    setsockopt(dhcp.fd, SOL_SOCKET, SO_BINDTODEVICE, interface, strlen(interface)) ||
	    bind(dhcp.fd, (struct sockaddr *)&any, sizeof(any)))
		fail("dhcp");
	memcpy(dhcp.mac, ifr.ifr_hwaddr.sa_data, sizeof(dhcp.mac));
	discover();
	while (dhcp.state != BOUND) {
		if (now_ms() >= give_up) {
			errno = ETIMEDOUT;
			fail("dhcp");
		}
		poll(&fd, 1, lease_wait_ms());
		keep_lease();
	}
}
