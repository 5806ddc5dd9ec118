// SPDX-License-Identifier: GPL-2.0-only
/*
 * The network, as the spec, the kernel's command line or cloud-init's disk says: each card
 * with addresses of its own, by DHCP, as routers and DHCPv6 say, or with none.
 *
 * What the start waits for: leases of IPv4; configured addresses of IPv6, until no neighbour
 * has claimed them; and addresses of IPv6 from routers only for a card that was told to
 * ("ipv6"), or that DHCP has not answered while a router has.  All else comes from the loop,
 * so that a network without IPv6 costs no time.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "network.h"

/* How long a network card of Hyper-V's may take to come. */
#define INTERFACE_MS	5000
/* RFC 2131, 4.1: the first four waits for an answer. */
#define DHCP_MS		60000
/* After so many of them, a network that has IPv6 is taken for one that has nothing else. */
#define IN_VAIN		2
/* RFC 4861, 10: three solicitations, four seconds each, and nobody has answered. */
#define ROUTERS_MS	12000
/* RFC 4862, 5.4: one probe of a second, after a delay of up to one; a link may take its time to come. */
#define SETTLE_MS	4000
/* For the first answer of a time server; later ones set the clock as well. */
#define TIME_MS		1000
/* Between the routes of a card and those of the next one. */
#define METRIC		100

static struct card cards[MAX_CARDS];
static int ncards;

struct card *card_of(int index)
{
	int i;

	for (i = 0; i < ncards; i++)
		if (cards[i].index == index)
			return &cards[i];
	return NULL;
}

/*
 * Who starts an image without a channel can still say to the kernel
 * UKL_NETWORK=[CARD=]HOW[;...], where CARD is a name or a MAC (else eth0, eth1, ...) and HOW is
 * none, or dhcp, ipv6 and ADDRESS/BITS[,GATEWAY[,DNS...]] with commas between them.
 */
static void override_card(struct network *network, int number, char *text)
{
	static char names[MAX_CARDS][IF_NAMESIZE];
	struct card_config *card = &network->cards[network->ncards++];
	char *word = strchr(text, '='), *which = text;
	bool after_address = false;

	snprintf(names[number], sizeof(names[number]), "eth%d", number);
	*card = (struct card_config) { .name = names[number] };
	if (word) {
		*word++ = 0;
		text = word;
		if (strchr(which, ':'))
			*card = (struct card_config) { .mac = which };
		else
			card->name = which;
	}
	while ((word = strsep(&text, ","))) {
		if (!strcmp(word, "dhcp")) {
			card->dhcp = true;
		} else if (!strcmp(word, "ipv6")) {
			card->ipv6 = true;
		} else if (strchr(word, '/') && card->naddresses < MAX_ADDRESSES) {
			card->addresses[card->naddresses++] = word;
			after_address = true;
			continue;
		} else if (after_address && *word && card->nroutes < MAX_ROUTES) {
			card->routes[card->nroutes++].via = word;
		} else if (*word && strcmp(word, "none") && network->ndns < MAX_DNS) {
			network->dns[network->ndns++] = word;
		}
		after_address = false;
	}
}

void override_network(struct network *network)
{
	char *text = getenv("UKL_NETWORK"), *one;
	int i;

	if (!text)
		return;
	network->ncards = network->ndns = 0;
	for (i = 0; i < MAX_CARDS && (one = strsep(&text, ";")); i++)
		override_card(network, i, one);
}

/* For whoever stands before the machine: what it is, and how to reach it. */
void announce(const struct spec *spec)
{
	struct ifaddrs *all = NULL, *one;
	char text[INET6_ADDRSTRLEN];
	struct utsname name;

	uname(&name);
	say("%s: %s of Linux %s\n", spec->hostname ? spec->hostname : "ukl", spec->file, name.release);
	if (getifaddrs(&all))
		return;
	for (one = all; one; one = one->ifa_next) {
		const struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)one->ifa_addr;
		const struct sockaddr_in *in = (struct sockaddr_in *)one->ifa_addr;
		const void *address = &in->sin_addr;

		if (!in || one->ifa_flags & IFF_LOOPBACK)
			continue;
		if (in->sin_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
			address = &in6->sin6_addr;
		else if (in->sin_family != AF_INET)
			continue;
		if (inet_ntop(in->sin_family, address, text, sizeof(text)))
			say("%s: %s on %s\n", name.nodename, text, one->ifa_name);
	}
	freeifaddrs(all);
}

static bool find_interface(const struct card_config *config, char name[IF_NAMESIZE])
{
	if (config->mac)
		return find_card(config->mac, name);
	snprintf(name, IF_NAMESIZE, "%s", config->name);
	return if_nametoindex(name);
}

/* Hyper-V tells of its devices when it likes; all others are known before init starts. */
static bool await_interface(const struct card_config *config, char name[IF_NAMESIZE])
{
	struct sockaddr_nl links = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	long end = now_ms() + (access("/sys/bus/vmbus/devices", F_OK) ? 0 : INTERFACE_MS), left;
	struct pollfd news = { .events = POLLIN };
	char message[8192];
	bool found;

	if (find_interface(config, name))
		return true;
	if (now_ms() >= end)
		return false;
	news.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	bind(news.fd, (struct sockaddr *)&links, sizeof(links));
	while (!(found = find_interface(config, name)) && (left = end - now_ms()) > 0)
		if (poll(&news, 1, left) == 1)
			recv(news.fd, message, sizeof(message), 0);
	close(news.fd);
	return found;
}

static void refuse(const char *text)
{
	errno = EINVAL;
	fail(text);
}

static void set_setting(const char *interface, const char *setting, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", interface, setting);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	/* A kernel may have no IPv6. */
	if (fd >= 0 && write(fd, value, strlen(value)) < 0)
		fail(path);
	close(fd);
}

static void add_addresses(struct card *card)
{
	const struct card_config *config = card->config;
	int i;

	for (i = 0; i < config->naddresses; i++) {
		struct prefix *address = &card->addresses[i];

		if (!parse_prefix(config->addresses[i], address) || !address->bits)
			refuse(config->addresses[i]);
		if (!set_address(card->index, address, FOREVER, FOREVER))
			fail(config->addresses[i]);
		card->settled[i] = address->ip.family == AF_INET;
	}
	card->naddresses = i;
}

static void add_routes(struct card *card)
{
	const struct card_config *config = card->config;
	int i;

	for (i = 0; i < config->nroutes; i++) {
		struct prefix to = { 0 };
		struct ip via = { 0 };
		long metric = config->routes[i].metric;

		if (config->routes[i].via && !parse_ip(config->routes[i].via, &via))
			refuse(config->routes[i].via);
		to.ip.family = via.family;
		if (config->routes[i].to && !parse_prefix(config->routes[i].to, &to))
			refuse(config->routes[i].to);
		if (!add_route(card->index, &to, &via, metric ? metric : card->metric))
			fail("route");
	}
}

static bool has_carrier(const char *interface)
{
	char path[64], state = 0;
	int fd;

	snprintf(path, sizeof(path), "/sys/class/net/%s/carrier", interface);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, &state, 1) != 1)
		state = 0;
	close(fd);
	return state == '1';
}

static void read_mac(struct card *card)
{
	unsigned int i, byte;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/class/net/%s/address", card->name);
	file = fopen(path, "re");
	for (i = 0; file && i < sizeof(card->mac) && fscanf(file, i ? ":%2x" : "%2x", &byte) == 1; i++)
		card->mac[i] = byte;
	if (file)
		fclose(file);
}

/* A card that is down. */
static void configure(struct card *card)
{
	const struct card_config *config = card->config;

	read_mac(card);
	if (config->no_routers)
		set_setting(card->name, "accept_ra", "0");
	/* RFC 4861, 6.3.7 wants a random second, for many machines that start at once; so does 4862. */
	if (config->dhcp || config->ipv6 || config->naddresses)
		set_setting(card->name, "router_solicitation_delay", "0");
	if (config->mtu && !set_mtu(card->index, config->mtu))
		say("init: %s: mtu %ld: %s\n", card->name, config->mtu, strerror(errno));
	add_addresses(card);
	if (!bring_up(card->index))
		fail(card->name);
	card->carrier = has_carrier(card->name);
	add_routes(card);
	if (config->dhcp)
		start_dhcp(card);
}

static void set_up_card(const struct card_config *config)
{
	struct card *card = &cards[ncards];
	char message[64];

	*card = (struct card) { .config = config, .metric = ncards * METRIC };
	if (!await_interface(config, card->name)) {
		snprintf(message, sizeof(message), "interface %s", config->mac ? config->mac : config->name);
		errno = ENODEV;
		if (have_host())
			fail(message);
		/* Started by itself, the image takes the machine as it is. */
		say("init: there is no %s\n", message);
		return;
	}
	if (config->mac && config->name) {
		if (!rename_card(card->name, config->name))
			fail(config->name);
		strcpy(card->name, config->name);
	}
	card->index = if_nametoindex(card->name);
	ncards++;
	configure(card);
}

static bool has_settled(const struct card *card)
{
	int i;

	for (i = 0; i < card->naddresses; i++)
		if (!card->settled[i])
			return false;
	return true;
}

static bool has_ipv6(const struct card *card)
{
	return card->address6 && !card->asking6;
}

/* Whether the start need not wait for it, so many milliseconds after the cards were set up. */
static bool is_ready(const struct card *card, long passed)
{
	const struct card_config *config = card->config;

	if (config->optional)
		return true;
	if (passed < SETTLE_MS && !has_settled(card))
		return false;
	if (config->dhcp && !card->leased && passed < DHCP_MS &&
	    !(card->unanswered >= IN_VAIN && has_ipv6(card)))
		return false;
	return !config->ipv6 || has_ipv6(card) || passed >= ROUTERS_MS;
}

/* Until all cards are ready, or so long that they may never be. */
static void await_cards(void)
{
	long start = now_ms(), passed;
	int ready = 0;

	while (ready < ncards) {
		passed = now_ms() - start;
		for (ready = 0; ready < ncards && is_ready(&cards[ready], passed); ready++)
			;
		if (ready < ncards)
			await_services(start + (passed < SETTLE_MS ? SETTLE_MS :
						passed < ROUTERS_MS ? ROUTERS_MS : DHCP_MS));
	}
}

/* Cards that have got nothing: one that nobody can reach is not started, unless it was all optional. */
static void tell_silence(void)
{
	const char *silent = NULL;
	bool reachable = false;
	int i;

	for (i = 0; i < ncards; i++) {
		const struct card *card = &cards[i];
		const char *who = card->config->dhcp && !card->leased && !card->address6 ? "dhcp" :
			card->config->ipv6 && !has_ipv6(card) ? "ipv6" : NULL;

		if (card->config->optional || !who)
			reachable = true;
		else
			silent = who;
		if (who && (ncards > 1 || card->leased || card->naddresses))
			say("init: %s: %s has not answered, and is still asked\n", card->name, who);
		reachable |= card->leased || card->address6 || card->naddresses;
	}
	if (silent && !reachable) {
		errno = ETIMEDOUT;
		fail(silent);
	}
}

static void take_names(const struct network *network)
{
	static struct names names;
	struct ip ip;
	int i;

	names.nservers = 0;
	for (i = 0; i < network->ndns; i++) {
		if (!parse_ip(network->dns[i], &ip))
			refuse(network->dns[i]);
		add_name_server(&names, &ip, ncards ? cards[0].name : "eth0");
	}
	strcpy(names.search, network->search);
	if (names.nservers || names.search[0] || names.known)
		publish_names(&names);
	for (i = 0; i < network->nntp; i++)
		add_time_server(network->ntp[i], parse_ip(network->ntp[i], &ip) ? &ip : NULL, true);
}

static bool has_ipv6_words(const struct network *network)
{
	int i, j;

	for (i = 0; i < network->ncards; i++) {
		const struct card_config *config = &network->cards[i];

		if (config->dhcp || config->ipv6)
			return true;
		for (j = 0; j < config->naddresses; j++)
			if (strchr(config->addresses[j], ':'))
				return true;
	}
	return false;
}

void set_up_network(const struct network *network)
{
	long until;
	int i;

	bring_up(if_nametoindex("lo"));
	/* Before a card is up: nothing is to be missed. */
	if (has_ipv6_words(network))
		watch_routers();
	for (i = 0; i < network->ncards; i++)
		set_up_card(&network->cards[i]);
	take_names(network);
	await_cards();
	tell_silence();
	start_clock();
	for (until = now_ms() + TIME_MS; awaits_time() && now_ms() < until;)
		await_services(until);
}

static void renew_card(struct card *card, const struct card_config *config)
{
	int i;

	if (!take_down(card->index))
		fail(card->name);
	for (i = 0; i < card->naddresses; i++)
		if (card->addresses[i].ip.family == AF_INET)
			drop_address(card->index, &card->addresses[i]);
	forget_dhcp(card);
	if (config->mac && !set_mac(card->index, config->mac))
		fail(config->mac);
	card->config = config;
	card->unanswered = 0;
	configure(card);
	forget_dhcp6(card);
	/* The host lets its frames pass once we have said that we go on; that it is up then is news. */
	card->carrier = false;
}

/*
 * A clone's cards, each with a hardware address and addresses of its own.  That a card is down
 * meanwhile takes away what the kernel has made of the old one.
 */
void renew_network(const struct network *network)
{
	static struct card_config configs[MAX_CARDS];
	int i;

	if (has_ipv6_words(network))
		watch_routers();
	for (i = 0; i < network->ncards; i++) {
		struct card *card = card_of(if_nametoindex(network->cards[i].name));

		if (!card) {
			errno = ENODEV;
			fail(network->cards[i].name);
		}
		configs[card - cards] = network->cards[i];
		renew_card(card, &configs[card - cards]);
	}
	if (network->ncards)
		take_names(network);
}
