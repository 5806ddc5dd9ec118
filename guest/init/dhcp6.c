// SPDX-License-Identifier: GPL-2.0-only
/*
 * A DHCPv6 client (RFC 8415) for each card, asked for by a router's advertisement: for an
 * address (M, "managed") with all that comes with it, or for the rest alone (O, "other").
 *
 * Left out of what the RFC has: the random wait before the first message (18.2.1), for many
 * machines that start at once; comparing servers' preferences (18.2.9): the first one that
 * offers an address is taken; Decline, Release and Reconfigure; prefixes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "network.h"

#define CLIENT_PORT	546
#define SERVER_PORT	547
#define PACKETS_AT_ONCE	16
#define MAX_DUID	130	/* 11.1 */
#define MAX_PACKET	1500
/* Questions, over seven seconds, that the start may wait for an answer to. */
#define HOPEFUL_TRIES	3

enum { SOLICIT = 1, ADVERTISE, REQUEST, CONFIRM, RENEW, REBIND, REPLY, RELEASE, DECLINE, RECONFIGURE, INFORMATION };
enum {
	OPT_CLIENT = 1, OPT_SERVER = 2, OPT_IA = 3, OPT_ADDRESS = 5, OPT_WANTED = 6, OPT_ELAPSED = 8,
	OPT_STATUS = 13, OPT_RAPID = 14, OPT_DNS = 23, OPT_DOMAINS = 24, OPT_REFRESH = 32,
	OPT_NTP = 56, OPT_SOLICIT_MAX = 82, OPT_INFORMATION_MAX = 83
};
enum { NTP_ADDRESS = 1, NTP_NAME = 3 };	/* RFC 5908, 4.1 and 4.3 */

enum state { IDLE, SOLICITING, REQUESTING, BOUND, RENEWING, REBINDING, ASKING, INFORMED };

/* 7.6: how a message is sent again, in ms; most tries, 0 for no limit. */
static const struct pace {
	uint8_t message;
	long first, longest;
	int most;
} paces[] = {
	[SOLICITING] = { SOLICIT, 1000, 3600000, 0 },
	[REQUESTING] = { REQUEST, 1000, 30000, 10 },
	[RENEWING] = { RENEW, 10000, 600000, 0 },
	[REBINDING] = { REBIND, 10000, 600000, 0 },
	[ASKING] = { INFORMATION, 1000, 3600000, 0 },
};

/* 7.6, 21.23: how long information is good that says nothing of that, and the least, in s. */
#define REFRESH_DEFAULT	86400
#define REFRESH_LEAST	600

struct dhcp6 {
	struct service service;	/* the first, so that its step has the rest */
	struct card *card;
	enum state state;
	uint8_t xid[3];
	uint8_t client[10];	/* 11.4: DUID-LL, of the hardware address */
	uint8_t server[MAX_DUID];
	size_t server_length;
	struct prefix address;
	long began, wait, longest_solicit;
	int tries;
	long renew, rebind, end;
	struct names names;
};

/* What an IA_NA says. */
struct lease {
	struct prefix address;
	uint32_t t1, t2, preferred, valid;
};

static uint16_t get16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* The first option of this code within `size` bytes; NULL if there is none of at least `least`. */
static const uint8_t *find_option(const uint8_t *at, size_t size, int code, size_t least, size_t *length)
{
	size_t its;

	for (; size >= 4; at += 4 + its, size -= 4 + its) {
		its = get16(at + 2);
		if (its > size - 4)
			break;
		if (get16(at) == code) {
			*length = its;
			return its >= least ? at + 4 : NULL;
		}
	}
	return NULL;
}

static uint8_t *put(uint8_t *at, int code, const void *value, size_t length)
{
	*at++ = code >> 8;
	*at++ = code;
	*at++ = length >> 8;
	*at++ = length;
	memcpy(at, value, length);
	return at + length;
}

static uint8_t *put_ia(const struct dhcp6 *dhcp, uint8_t *at)
{
	uint8_t ia[40] = { 0 }, address[24] = { 0 }, *end = ia + 12;

	/* The identity of the association, the same after each start: 21.4. */
	memcpy(ia, dhcp->card->mac + 2, 4);
	if (dhcp->state != SOLICITING) {
		memcpy(address, dhcp->address.ip.bytes, 16);
		end = put(end, OPT_ADDRESS, address, sizeof(address));
	}
	return put(at, OPT_IA, ia, end - ia);
}

static void send_message(struct dhcp6 *dhcp)
{
	static const uint8_t wanted[] = {
		0, OPT_DNS, 0, OPT_DOMAINS, 0, OPT_REFRESH, 0, OPT_NTP, 0, OPT_SOLICIT_MAX, 0, OPT_INFORMATION_MAX
	};
	struct sockaddr_in6 to = {
		.sin6_family = AF_INET6, .sin6_port = htons(SERVER_PORT),
		.sin6_scope_id = dhcp->card->index,
	};
	uint8_t packet[512], elapsed[2], *at = packet;
	long passed = (now_ms() - dhcp->began) / 10;

	if (!dhcp->tries)
		passed = 0;
	else if (passed > 0xffff)
		passed = 0xffff;
	elapsed[0] = passed >> 8;
	elapsed[1] = passed;
	*at++ = paces[dhcp->state].message;
	memcpy(at, dhcp->xid, sizeof(dhcp->xid));
	at = put(at + sizeof(dhcp->xid), OPT_CLIENT, dhcp->client, sizeof(dhcp->client));
	if (dhcp->state == REQUESTING || dhcp->state == RENEWING)
		at = put(at, OPT_SERVER, dhcp->server, dhcp->server_length);
	if (dhcp->state == SOLICITING)
		at = put(at, OPT_RAPID, "", 0);
	if (dhcp->state != ASKING)
		at = put_ia(dhcp, at);
	at = put(at, OPT_ELAPSED, elapsed, sizeof(elapsed));
	at = put(at, OPT_WANTED, wanted, sizeof(wanted));
	/* All servers and relays of the link. */
	inet_pton(AF_INET6, "ff02::1:2", &to.sin6_addr);
	/* Before the card has an address of the link, a message is one that got lost. */
	sendto(dhcp->service.fd, packet, at - packet, 0, (struct sockaddr *)&to, sizeof(to));
}

/* Give or take a tenth; 15 has the first solicitation wait no less than its time. */
static long about(long ms, bool no_less)
{
	return ms + ms / 1000 * ((long)(random_number() % 201) - (no_less ? 0 : 100)) / (no_less ? 2 : 1);
}

static void send_and_wait(struct dhcp6 *dhcp)
{
	const struct pace *pace = &paces[dhcp->state];
	long longest = dhcp->state == SOLICITING ? dhcp->longest_solicit : pace->longest;

	send_message(dhcp);
	dhcp->wait = dhcp->tries ? about(2 * dhcp->wait, false) : about(pace->first, dhcp->state == SOLICITING);
	if (dhcp->wait > longest)
		dhcp->wait = about(longest, false);
	dhcp->service.due = now_ms() + dhcp->wait;
	if (dhcp->tries++ == HOPEFUL_TRIES)
		dhcp->card->asking6 = false;
	/* 18.2.4, 18.2.5: until the next state's time. */
	if (dhcp->state == RENEWING && dhcp->service.due > dhcp->rebind)
		dhcp->service.due = dhcp->rebind;
	if (dhcp->state == REBINDING && dhcp->service.due > dhcp->end)
		dhcp->service.due = dhcp->end;
}

static void begin(struct dhcp6 *dhcp, enum state state)
{
	uint32_t number = random_number();

	dhcp->state = state;
	dhcp->began = now_ms();
	dhcp->tries = 0;
	memcpy(dhcp->xid, &number, sizeof(dhcp->xid));
	send_and_wait(dhcp);
}

static bool is_well(const uint8_t *at, size_t size)
{
	size_t length;
	const uint8_t *status = find_option(at, size, OPT_STATUS, 2, &length);

	return !status || get16(status) == 0;
}

/* 21.4, 21.6; false if there is no address to have. */
static bool find_lease(const struct dhcp6 *dhcp, const uint8_t *at, size_t size, struct lease *lease)
{
	size_t length, inner;
	const uint8_t *ia = find_option(at, size, OPT_IA, 12, &length), *address;

	if (!ia || memcmp(ia, dhcp->card->mac + 2, 4) || !is_well(ia + 12, length - 12))
		return false;
	address = find_option(ia + 12, length - 12, OPT_ADDRESS, 24, &inner);
	if (!address || !is_well(address + 24, inner - 24))
		return false;
	*lease = (struct lease) {
		.address = { .ip.family = AF_INET6, .bits = 128 },
		.t1 = get32(ia + 4), .t2 = get32(ia + 8),
		.preferred = get32(address + 16), .valid = get32(address + 20),
	};
	memcpy(lease->address.ip.bytes, address, 16);
	return lease->valid && lease->preferred <= lease->valid && (!lease->t2 || lease->t1 <= lease->t2) &&
		!IN6_IS_ADDR_MULTICAST(&lease->address.ip.v6) && !IN6_IS_ADDR_LINKLOCAL(&lease->address.ip.v6) &&
		!IN6_IS_ADDR_UNSPECIFIED(&lease->address.ip.v6) && !IN6_IS_ADDR_LOOPBACK(&lease->address.ip.v6);
}

static void take_names(struct dhcp6 *dhcp, const uint8_t *at, size_t size)
{
	struct ip ip = { .family = AF_INET6 };
	const uint8_t *value;
	size_t length, i;

	dhcp->names.nservers = 0;
	value = find_option(at, size, OPT_DNS, 16, &length);
	for (i = 0; value && i + 16 <= length; i += 16) {
		memcpy(&ip.v6, value + i, 16);
		add_name_server(&dhcp->names, &ip, dhcp->card->name);
	}
	dhcp->names.search[0] = 0;
	value = find_option(at, size, OPT_DOMAINS, 1, &length);
	if (value)
		read_domains(value, length, dhcp->names.search);
	publish_names(&dhcp->names);
}

static void take_time_servers(const uint8_t *at, size_t size)
{
	size_t length, its;
	const uint8_t *value = find_option(at, size, OPT_NTP, 4, &length);

	for (; value && length >= 4; value += 4 + its, length -= 4 + its) {
		struct ip ip = { .family = AF_INET6 };
		char name[MAX_SEARCH] = "";

		its = get16(value + 2);
		if (its > length - 4)
			break;
		if (get16(value) == NTP_ADDRESS && its == 16) {
			memcpy(&ip.v6, value + 4, 16);
			add_time_server(NULL, &ip, false);
		} else if (get16(value) == NTP_NAME) {
			read_domains(value + 4, its, name);
			name[strcspn(name, " ")] = 0;
			if (name[0])
				add_time_server(name, NULL, false);
		}
	}
}

static long end_of(uint32_t seconds)
{
	return seconds == FOREVER ? NEVER : now_ms() + seconds * 1000l;
}

/* 14.2, 21.4: a server may leave the times to us. */
static void start_lease(struct dhcp6 *dhcp, struct lease *lease)
{
	if (dhcp->card->leased6 && memcmp(&dhcp->address, &lease->address, sizeof(lease->address)))
		drop_address(dhcp->card->index, &dhcp->address);
	dhcp->address = lease->address;
	if (!set_address(dhcp->card->index, &lease->address, lease->valid, lease->preferred) && !program)
		fail(dhcp->card->name);
	dhcp->card->leased6 = true;
	dhcp->card->asking6 = false;
	if (!lease->t1)
		lease->t1 = lease->preferred == FOREVER ? FOREVER : lease->preferred / 2;
	if (!lease->t2)
		lease->t2 = lease->preferred == FOREVER ? FOREVER : lease->preferred / 5 * 4;
	dhcp->state = BOUND;
	/* Or we would do nothing else. */
	dhcp->renew = end_of(lease->t1 < 10 ? 10 : lease->t1);
	dhcp->rebind = end_of(lease->t2 < 20 ? 20 : lease->t2);
	dhcp->end = end_of(lease->valid);
	if (dhcp->rebind > dhcp->end)
		dhcp->rebind = dhcp->end;
	dhcp->service.due = dhcp->renew < dhcp->rebind ? dhcp->renew : dhcp->rebind;
}

static void take_information(struct dhcp6 *dhcp, const uint8_t *at, size_t size)
{
	size_t length;
	const uint8_t *value = find_option(at, size, OPT_REFRESH, 4, &length);
	uint32_t refresh = value ? get32(value) : REFRESH_DEFAULT;

	if (refresh < REFRESH_LEAST)
		refresh = REFRESH_LEAST;
	take_names(dhcp, at, size);
	take_time_servers(at, size);
	dhcp->state = INFORMED;
	dhcp->card->asking6 = false;
	dhcp->service.due = end_of(refresh);
}

static void take_reply(struct dhcp6 *dhcp, const uint8_t *at, size_t size)
{
	struct lease lease;
	size_t length;

	if (dhcp->state == ASKING) {
		if (is_well(at, size))
			take_information(dhcp, at, size);
		return;
	}
	if (dhcp->state == SOLICITING && !find_option(at, size, OPT_RAPID, 0, &length))
		return;
	if (!is_well(at, size) || !find_lease(dhcp, at, size, &lease)) {
		/* 18.2.10: the binding is not known, or not on this link.  A renewal is tried until its end. */
		if (dhcp->state == REQUESTING)
			begin(dhcp, SOLICITING);
		return;
	}
	take_names(dhcp, at, size);
	take_time_servers(at, size);
	start_lease(dhcp, &lease);
}

static void take_packet(struct dhcp6 *dhcp, const uint8_t *packet, size_t size)
{
	const uint8_t *at = packet + 4, *client, *server, *most;
	size_t length, server_length;
	struct lease lease;

	if (size < 4 || memcmp(packet + 1, dhcp->xid, sizeof(dhcp->xid)) || !paces[dhcp->state].message)
		return;
	size -= 4;
	client = find_option(at, size, OPT_CLIENT, sizeof(dhcp->client), &length);
	server = find_option(at, size, OPT_SERVER, 1, &server_length);
	if (!client || length != sizeof(dhcp->client) || memcmp(client, dhcp->client, length) ||
	    !server || server_length > MAX_DUID)
		return;
	if (dhcp->state == REQUESTING &&
	    (server_length != dhcp->server_length || memcmp(server, dhcp->server, server_length)))
		return;
	/* 21.24: between a minute and a day. */
	most = find_option(at, size, OPT_SOLICIT_MAX, 4, &length);
	if (most && get32(most) >= 60 && get32(most) <= 86400)
		dhcp->longest_solicit = get32(most) * 1000l;
	if (packet[0] == ADVERTISE && dhcp->state == SOLICITING && is_well(at, size) &&
	    find_lease(dhcp, at, size, &lease)) {
		dhcp->address = lease.address;
		memcpy(dhcp->server, server, server_length);
		dhcp->server_length = server_length;
		begin(dhcp, REQUESTING);
	} else if (packet[0] == REPLY) {
		memcpy(dhcp->server, server, server_length);
		dhcp->server_length = server_length;
		take_reply(dhcp, at, size);
	}
}

static void act_on_time(struct dhcp6 *dhcp)
{
	long now = now_ms();

	switch (dhcp->state) {
	case IDLE:
		dhcp->service.due = NEVER;
		break;
	case BOUND:
	case RENEWING:
	case REBINDING:
		if (now >= dhcp->end) {
			/* The kernel has taken the address away. */
			dhcp->card->leased6 = false;
			begin(dhcp, SOLICITING);
		} else if (now >= dhcp->rebind) {
			if (dhcp->state == REBINDING)
				send_and_wait(dhcp);
			else
				begin(dhcp, REBINDING);
		} else if (dhcp->state == RENEWING) {
			send_and_wait(dhcp);
		} else {
			begin(dhcp, RENEWING);
		}
		break;
	case REQUESTING:
		if (dhcp->tries < paces[REQUESTING].most)
			send_and_wait(dhcp);
		else
			begin(dhcp, SOLICITING);
		break;
	case SOLICITING:
	case ASKING:
		send_and_wait(dhcp);
		break;
	case INFORMED:
		begin(dhcp, ASKING);
		break;
	}
}

static void step(struct service *service)
{
	struct dhcp6 *dhcp = (struct dhcp6 *)service;
	uint8_t packet[MAX_PACKET];
	int left = PACKETS_AT_ONCE;
	long size;

	while (left-- && (size = recv(service->fd, packet, sizeof(packet), MSG_DONTWAIT)) >= 0)
		take_packet(dhcp, packet, size);
	if (now_ms() >= service->due)
		act_on_time(dhcp);
}

static struct dhcp6 all[MAX_CARDS];

static void name_client(struct dhcp6 *dhcp)
{
	memcpy(dhcp->client + 4, dhcp->card->mac, sizeof(dhcp->card->mac));
}

/* The card is another one's from now on, and has lost its addresses.  Its routers say when to ask again. */
void forget_dhcp6(struct card *card)
{
	struct dhcp6 *dhcp;

	card->leased6 = card->asking6 = card->address6 = false;
	for (dhcp = all; dhcp < all + MAX_CARDS; dhcp++) {
		if (dhcp->card != card)
			continue;
		name_client(dhcp);
		dhcp->state = IDLE;
		dhcp->service.due = NEVER;
	}
}

static struct dhcp6 *open_client(struct card *card)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(CLIENT_PORT) };
	struct dhcp6 *dhcp = all;
	int yes = 1;

	while (dhcp->card && dhcp->card != card)
		dhcp++;
	if (dhcp->card)
		return dhcp;
	dhcp->card = card;
	dhcp->longest_solicit = paces[SOLICITING].longest;
	dhcp->client[1] = 3;
	dhcp->client[3] = 1;
	name_client(dhcp);
	dhcp->service.step = step;
	dhcp->service.due = NEVER;
	dhcp->service.fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (setsockopt(dhcp->service.fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)) ||
	    setsockopt(dhcp->service.fd, SOL_SOCKET, SO_BINDTODEVICE, card->name, strlen(card->name)) ||
	    bind(dhcp->service.fd, (struct sockaddr *)&any, sizeof(any))) {
		/* The program may have the port by now. */
		close(dhcp->service.fd);
		dhcp->service.fd = -1;
		say("init: %s: DHCPv6 is not possible\n", card->name);
	}
	add_service(&dhcp->service);
	return dhcp;
}

/* A router has said so; it says it again and again. */
void start_dhcp6(struct card *card, bool managed)
{
	struct dhcp6 *dhcp = open_client(card);
	bool asks_for_address = dhcp->state != IDLE && dhcp->state != ASKING && dhcp->state != INFORMED;

	if (dhcp->service.fd < 0 || asks_for_address || (!managed && dhcp->state != IDLE))
		return;
	dhcp->address.ip.family = AF_INET6;
	card->asking6 = true;
	begin(dhcp, managed ? SOLICITING : ASKING);
}
