// SPDX-License-Identifier: GPL-2.0-only
/*
 * A DHCP client (RFC 2131, options of RFC 2132, 3396, 3397 and 3442) for each card: gets the
 * address before the program starts, and keeps it from the loop that init spends its life in.
 *
 * Left out of what the RFC says clients SHOULD do: the random wait before the
 * first message (4.4.1), which is for many machines that start at once; ARP for
 * the offered address (4.4.1); a DHCPRELEASE at the end (4.4.6).  Options that
 * overflow into 'file' and 'sname' (RFC 2132, 9.3) are not read: those that we
 * ask for do not.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "network.h"

#define SERVER_PORT	67
#define CLIENT_PORT	68
#define COOKIE		0x63825363
#define BROADCAST	0x8000
#define OPTIONS_MAX	308	/* what is left of the packet that every server may send */
/* 4.1: wait 4 s for an answer, then twice as long each time, up to 64 s; give or take 1 s. */
#define FIRST_WAIT_MS	4000
#define LAST_WAIT_MS	64000
/* 4.4.5: a renewal is not asked for more often than this. */
#define RENEWAL_WAIT_MS	60000
/* How many waits a DHCPREQUEST is worth (3.1, 5: a total delay of 60 s). */
#define TRIES		4
/* RFC 791: what every host takes in one piece is the least that a network can ask for. */
#define LEAST_MTU	576
/* Of those that have come; a flood is to leave time for others. */
#define PACKETS_AT_ONCE	16

enum { BOOTREQUEST = 1, BOOTREPLY };
enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK };
enum {
	OPT_PAD = 0, OPT_MASK = 1, OPT_ROUTER = 3, OPT_DNS = 6, OPT_HOSTNAME = 12,
	OPT_DOMAIN = 15, OPT_MTU = 26, OPT_NTP = 42, OPT_ADDRESS = 50, OPT_LEASE = 51,
	OPT_TYPE = 53, OPT_SERVER = 54, OPT_WANTED = 55, OPT_RENEW = 58, OPT_REBIND = 59,
	OPT_SEARCH = 119, OPT_ROUTES = 121, OPT_END = 255
};

struct packet {
	uint8_t op, htype, hlen, hops;
	uint32_t xid;
	uint16_t secs, flags;
	struct in_addr ciaddr, yiaddr, siaddr, giaddr;
	uint8_t chaddr[16], sname[64], file[128];
	uint32_t cookie;
	uint8_t options[OPTIONS_MAX];
};

_Static_assert(sizeof(struct packet) == 548, "what every server may send (RFC 2131, 2)");

/* RFC 2131, figure 5; REBINDING is RENEWING past `rebind`. */
enum state { SELECTING, REQUESTING, BOUND, RENEWING };

struct dhcp {
	struct service service;	/* the first, so that its step has the rest */
	struct card *card;
	enum state state;
	uint32_t xid;
	int tries;		/* of this message */
	struct prefix address;
	struct in_addr server;
	long rebind, end;	/* of the lease; all times in ms */
	struct names names;
};

/*
 * The bytes of an option, of all its parts (RFC 3396), as far as there is room; 0 if it has
 * none of at least `least` bytes.
 */
static size_t find_option(const struct packet *packet, size_t size, int code, size_t least,
			  uint8_t value[OPTIONS_MAX])
{
	const uint8_t *at = packet->options, *end = (const uint8_t *)packet + size;
	size_t length = 0;

	while (at < end && *at != OPT_END) {
		if (*at == OPT_PAD) {
			at++;
			continue;
		}
		if (end - at < 2 || end - at - 2 < at[1])
			break;
		if (*at == code) {
			memcpy(value + length, at + 2, at[1]);
			length += at[1];
		}
		at += 2 + at[1];
	}
	return length >= least ? length : 0;
}

static uint32_t find_number(const struct packet *packet, size_t size, int code, uint32_t fallback)
{
	uint8_t value[OPTIONS_MAX];
	uint32_t number;

	if (!find_option(packet, size, code, sizeof(number), value))
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
static void send_message(struct dhcp *dhcp)
{
	/* RFC 3442: the routes before the router, which they take the place of. */
	static const uint8_t wanted[] = {
		OPT_MASK, OPT_ROUTES, OPT_ROUTER, OPT_DNS, OPT_HOSTNAME, OPT_DOMAIN, OPT_SEARCH,
		OPT_MTU, OPT_NTP, OPT_LEASE, OPT_RENEW, OPT_REBIND
	};
	struct packet packet = {
		.op = BOOTREQUEST, .htype = 1, .hlen = sizeof(dhcp->card->mac),
		.xid = dhcp->xid, .cookie = htonl(COOKIE),
	};
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(SERVER_PORT),
		.sin_addr.s_addr = htonl(INADDR_BROADCAST),
	};
	uint8_t type = dhcp->state == SELECTING ? DISCOVER : REQUEST, *at = packet.options;

	memcpy(packet.chaddr, dhcp->card->mac, sizeof(dhcp->card->mac));
	at = put(at, OPT_TYPE, &type, 1);
	if (dhcp->state == REQUESTING) {
		at = put(at, OPT_ADDRESS, &dhcp->address.ip.v4, sizeof(dhcp->address.ip.v4));
		at = put(at, OPT_SERVER, &dhcp->server, sizeof(dhcp->server));
	}
	if (dhcp->state == RENEWING) {
		packet.ciaddr = dhcp->address.ip.v4;
		if (now_ms() < dhcp->rebind)
			to.sin_addr = dhcp->server;
	} else {
		/* Without an address, what is sent to it does not arrive. */
		packet.flags = htons(BROADCAST);
	}
	at = put(at, OPT_WANTED, wanted, sizeof(wanted));
	*at = OPT_END;
	/* A link that is not up yet is a message that got lost. */
	sendto(dhcp->service.fd, &packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to));
}

static void send_and_wait(struct dhcp *dhcp)
{
	long wait = FIRST_WAIT_MS << dhcp->tries;

	send_message(dhcp);
	if (wait < LAST_WAIT_MS)
		dhcp->tries++;
	dhcp->service.due = now_ms() + wait + (long)(random_number() % 2001) - 1000;
}

static void enter(struct dhcp *dhcp, enum state state)
{
	/* 4.4.1: a DHCPREQUEST has the number of the DHCPDISCOVER. */
	if (state != REQUESTING)
		dhcp->xid = random_number();
	dhcp->state = state;
	dhcp->tries = 0;
}

static void discover(struct dhcp *dhcp)
{
	enter(dhcp, SELECTING);
	send_and_wait(dhcp);
}

/* 4.4.5: once before the next limit is half way there, or in a minute. */
static void renew(struct dhcp *dhcp)
{
	long now = now_ms(), limit = now < dhcp->rebind ? dhcp->rebind : dhcp->end;
	long wait = (limit - now) / 2;

	send_message(dhcp);
	if (wait < RENEWAL_WAIT_MS)
		wait = RENEWAL_WAIT_MS;
	dhcp->service.due = now + wait < limit ? now + wait : limit;
}

/* The address is somebody else's now: without one, until there is another. */
static void lose_lease(struct dhcp *dhcp)
{
	if (dhcp->card->leased)
		drop_address(dhcp->card->index, &dhcp->address);
	dhcp->card->leased = false;
	discover(dhcp);
}

static void take_hostname(const struct packet *packet, size_t size)
{
	uint8_t value[OPTIONS_MAX];
	size_t length = find_option(packet, size, OPT_HOSTNAME, 1, value);

	if (length <= 64 && is_domain((char *)value, length))
		sethostname((char *)value, length);
}

static void take_names(struct dhcp *dhcp, const struct packet *packet, size_t size)
{
	struct names *names = &dhcp->names;
	uint8_t value[OPTIONS_MAX + 1];
	size_t length = find_option(packet, size, OPT_DNS, 4, value), i;
	struct ip ip = { .family = AF_INET };

	names->nservers = 0;
	for (i = 0; i + 4 <= length; i += 4) {
		memcpy(&ip.v4, value + i, 4);
		add_name_server(names, &ip, dhcp->card->name);
	}
	names->search[0] = 0;
	read_domains(value, find_option(packet, size, OPT_SEARCH, 1, value), names->search);
	length = find_option(packet, size, OPT_DOMAIN, 1, value);
	/* Some servers send the end of the string as well. */
	while (length && !value[length - 1])
		length--;
	value[length] = 0;
	if (!names->search[0] && is_domain((char *)value, length))
		add_domain(names->search, (char *)value);
	publish_names(names);
}

static void take_time_servers(const struct packet *packet, size_t size)
{
	uint8_t value[OPTIONS_MAX];
	size_t length = find_option(packet, size, OPT_NTP, 4, value), i;
	struct ip ip = { .family = AF_INET };

	for (i = 0; i + 4 <= length; i += 4) {
		memcpy(&ip.v4, value + i, 4);
		add_time_server(NULL, &ip, false);
	}
}

/* RFC 3442: a width, as many bytes of the destination as that has, a router. */
static bool take_routes(const struct card *card, const struct packet *packet, size_t size)
{
	uint8_t value[OPTIONS_MAX];
	size_t length = find_option(packet, size, OPT_ROUTES, 5, value), at = 0, bytes;

	while (at < length) {
		struct prefix to = { .ip.family = AF_INET, .bits = value[at++] };
		struct ip via = { .family = AF_INET };

		bytes = (to.bits + 7) / 8;
		if (to.bits > 32 || length - at < bytes + 4)
			break;
		memcpy(to.ip.bytes, value + at, bytes);
		memcpy(&via.v4, value + at + bytes, 4);
		at += bytes + 4;
		/* Bits behind the width are a mistake that the RFC has us mask. */
		to.ip.v4.s_addr &= to.bits ? htonl(~0u << (32 - to.bits)) : 0;
		add_route(card->index, &to, &via, card->metric);
	}
	return length > 0;
}

/* Without a mask, its class has one. */
static int bits_of(struct in_addr mask, struct in_addr address)
{
	uint32_t bits = ntohl(mask.s_addr), first = ntohl(address.s_addr) >> 24;

	if (bits)
		return ~bits ? __builtin_clz(~bits) : 32;
	return first < 128 ? 8 : first < 192 ? 16 : 24;
}

/*
 * 3.1, 5: what the server says last is what counts.  Once the program runs, what
 * it has made of the machine's name is its own affair.
 */
static void configure(struct dhcp *dhcp, const struct packet *packet, size_t size)
{
	struct card *card = dhcp->card;
	struct prefix everywhere = { .ip.family = AF_INET };
	struct ip router = { .family = AF_INET };
	uint8_t value[OPTIONS_MAX];
	uint32_t mtu;

	dhcp->address.ip.v4 = packet->yiaddr;
	dhcp->address.bits = bits_of(find_address(packet, size, OPT_MASK), packet->yiaddr);
	if (!set_address(card->index, &dhcp->address, FOREVER, FOREVER) && !program)
		fail(card->name);
	card->leased = true;
	if (!card->config->mtu && find_option(packet, size, OPT_MTU, 2, value)) {
		mtu = value[0] << 8 | value[1];
		/* What the card cannot do it refuses. */
		if (mtu >= LEAST_MTU)
			set_mtu(card->index, mtu);
	}
	router.v4 = find_address(packet, size, OPT_ROUTER);
	if (!take_routes(card, packet, size) && router.v4.s_addr &&
	    !add_route(card->index, &everywhere, &router, card->metric) && !program)
		fail("route");
	take_names(dhcp, packet, size);
	take_time_servers(packet, size);
	if (!program)
		take_hostname(packet, size);
}

/* 4.4.5: T1 and T2, by default at 0.5 and 0.875 of the lease. */
static void start_lease(struct dhcp *dhcp, const struct packet *packet, size_t size)
{
	uint32_t seconds = find_number(packet, size, OPT_LEASE, FOREVER);
	long now = now_ms(), length, renewal, rebinding;

	enter(dhcp, BOUND);
	dhcp->service.due = dhcp->rebind = dhcp->end = NEVER;
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
	dhcp->service.due = now + renewal;
	dhcp->rebind = now + rebinding;
	dhcp->end = now + length;
}

static void take_answer(struct dhcp *dhcp, const struct packet *packet, size_t size)
{
	struct in_addr server = find_address(packet, size, OPT_SERVER);
	uint8_t value[OPTIONS_MAX], type = 0;

	if (find_option(packet, size, OPT_TYPE, 1, value))
		type = value[0];
	if (dhcp->state == SELECTING && type == OFFER && packet->yiaddr.s_addr && server.s_addr) {
		dhcp->address.ip.v4 = packet->yiaddr;
		dhcp->server = server;
		enter(dhcp, REQUESTING);
		send_and_wait(dhcp);
	} else if ((dhcp->state == REQUESTING || dhcp->state == RENEWING) && type == NAK) {
		lose_lease(dhcp);
	} else if (dhcp->state == REQUESTING && type == ACK && packet->yiaddr.s_addr) {
		configure(dhcp, packet, size);
		start_lease(dhcp, packet, size);
	} else if (dhcp->state == RENEWING && type == ACK &&
		   packet->yiaddr.s_addr == dhcp->address.ip.v4.s_addr) {
		/* Past T2 it may be another server's. */
		if (server.s_addr)
			dhcp->server = server;
		take_names(dhcp, packet, size);
		start_lease(dhcp, packet, size);
	}
}

static void read_answers(struct dhcp *dhcp)
{
	struct packet packet;
	int left = PACKETS_AT_ONCE;
	long size;

	while (left-- && (size = recv(dhcp->service.fd, &packet, sizeof(packet), MSG_DONTWAIT)) >= 0) {
		if (size >= (long)offsetof(struct packet, options) && packet.op == BOOTREPLY &&
		    packet.xid == dhcp->xid && packet.cookie == htonl(COOKIE) &&
		    !memcmp(packet.chaddr, dhcp->card->mac, sizeof(dhcp->card->mac)))
			take_answer(dhcp, &packet, size);
	}
}

static void act_on_time(struct dhcp *dhcp)
{
	switch (dhcp->state) {
	case SELECTING:
		dhcp->card->unanswered += dhcp->card->carrier;
		send_and_wait(dhcp);
		break;
	case REQUESTING:
		if (dhcp->tries < TRIES)
			send_and_wait(dhcp);
		else
			discover(dhcp);
		break;
	case BOUND:
		enter(dhcp, RENEWING);
		renew(dhcp);
		break;
	case RENEWING:
		if (now_ms() < dhcp->end)
			renew(dhcp);
		else
			lose_lease(dhcp);
		break;
	}
}

static void step(struct service *service)
{
	struct dhcp *dhcp = (struct dhcp *)service;

	read_answers(dhcp);
	if (now_ms() >= service->due)
		act_on_time(dhcp);
}

static struct dhcp all[MAX_CARDS];
static int count;

static struct dhcp *client_of(const struct card *card)
{
	int i;

	for (i = 0; i < count; i++)
		if (all[i].card == card)
			return &all[i];
	return NULL;
}

/* What was said before nobody has heard: a real card's link takes seconds to come. */
void tell_dhcp_of_link(struct card *card)
{
	struct dhcp *dhcp = client_of(card);

	if (!dhcp || dhcp->state != SELECTING)
		return;
	card->unanswered = 0;
	discover(dhcp);
}

/* The card is another one's from now on: nothing is asked for, and what was given is not ours. */
void forget_dhcp(struct card *card)
{
	struct dhcp *dhcp = client_of(card);

	if (!dhcp)
		return;
	if (card->leased)
		drop_address(card->index, &dhcp->address);
	card->leased = false;
	enter(dhcp, BOUND);
	dhcp->service.due = NEVER;
	dhcp->names.nservers = 0;
	dhcp->names.search[0] = 0;
	publish_names(&dhcp->names);
}

/* The card is up and has no address yet. */
void start_dhcp(struct card *card)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(CLIENT_PORT) };
	struct dhcp *dhcp = client_of(card);
	int yes = 1;

	if (dhcp) {
		discover(dhcp);
		return;
	}
	dhcp = &all[count++];
	dhcp->card = card;
	dhcp->address.ip.family = AF_INET;
	dhcp->service.step = step;
	dhcp->service.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (setsockopt(dhcp->service.fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes)) ||
	    setsockopt(dhcp->service.fd, SOL_SOCKET, SO_BINDTODEVICE, card->name, strlen(card->name)) ||
	    bind(dhcp->service.fd, (struct sockaddr *)&any, sizeof(any)))
		fail("dhcp");
	add_service(&dhcp->service);
	discover(dhcp);
}
