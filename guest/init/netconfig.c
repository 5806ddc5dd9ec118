// SPDX-License-Identifier: GPL-2.0-only
/*
 * cloud-init's network-config, versions 1 and 2 (its documentation, "Network configuration"):
 * Ethernet cards with addresses, routes and name servers.  What is not known here, bonds,
 * bridges and VLANs among it, is refused as a whole: half a network is none.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "network.h"
#include "yaml.h"

#define MAX_ITEMS	16
#define MAX_SUBNETS	MAX_ADDRESSES

/* Keys of a description say it in their order, which may be any: what belongs together is kept until the end. */
struct subnet {
	const char *type, *address, *netmask, *gateway;
};

struct route {
	const char *to, *netmask, *via, *metric;
};

struct item {
	const char *id;		/* version 2: the key; version 1: the number */
	const char *type, *name, *mac, *set_name, *match_name;
	const char *gateway4, *gateway6;
	struct card_config card;
	struct subnet subnets[MAX_SUBNETS];
	unsigned long nsubnets;
	struct route routes[MAX_ROUTES];
	int nroutes;
	const char *route_key;	/* of the last one */
};

static struct reader {
	struct network *network;
	struct item items[MAX_ITEMS];
	int nitems, version;
	char *problem;
	size_t size;
	char text[4096];	/* what is put together */
	size_t used;
} reader;

static bool refuse(const char *what, const char *detail)
{
	if (!reader.problem[0])
		snprintf(reader.problem, reader.size, "%s: %.60s", what, detail);
	return false;
}

static bool is_true(const char *value)
{
	return !strcasecmp(value, "true") || !strcasecmp(value, "yes") || !strcasecmp(value, "on");
}

/* Whether the path from `at` on is as the words say, with blanks between them; "#" is any number. */
static bool is_path(const struct yaml_scalar *scalar, int at, const char *words)
{
	size_t length;

	for (; at < scalar->depth && *words; at++, words += length, words += *words == ' ') {
		const char *part = scalar->path[at];

		length = strcspn(words, " ");
		if (*words == '#' ? part[strspn(part, "0123456789")] != 0 :
		    strncmp(part, words, length) || part[length])
			return false;
	}
	return at == scalar->depth && !*words;
}

static struct item *item_of(const char *id)
{
	int i;

	for (i = 0; i < reader.nitems; i++)
		if (!strcmp(reader.items[i].id, id))
			return &reader.items[i];
	if (i == MAX_ITEMS)
		return NULL;
	reader.nitems++;
	reader.items[i].id = id;
	return &reader.items[i];
}

static bool add_dns(const char *value)
{
	struct network *network = reader.network;

	if (network->ndns < MAX_DNS)
		network->dns[network->ndns++] = value;
	return true;
}

static bool add_search(const char *value)
{
	if (!is_domain(value, strlen(value)))
		return refuse("no domain", value);
	add_domain(reader.network->search, value);
	return true;
}

/* The route of a number; keys of one follow each other. */
static struct route *route_of(struct item *item, const struct yaml_scalar *scalar, int at)
{
	static char last[64];
	char key[64];

	/* With the subnet's number in version 1. */
	snprintf(key, sizeof(key), "%s %s %d", scalar->path[at], at > 2 ? scalar->path[at - 2] : "", (int)(item - reader.items));
	if (!item->nroutes || strcmp(key, last)) {
		if (item->nroutes == MAX_ROUTES)
			return NULL;
		item->nroutes++;
	}
	strcpy(last, key);
	return &item->routes[item->nroutes - 1];
}

static bool take_route(struct item *item, const struct yaml_scalar *scalar, int at)
{
	struct route *route = route_of(item, scalar, at);
	const char *key = scalar->path[at + 1], *value = scalar->value;

	if (!route)
		return refuse("too many routes", item->id);
	if (!strcmp(key, "to") || !strcmp(key, "destination") || !strcmp(key, "network"))
		route->to = value;
	else if (!strcmp(key, "netmask"))
		route->netmask = value;
	else if (!strcmp(key, "via") || !strcmp(key, "gateway"))
		route->via = value;
	else if (!strcmp(key, "metric"))
		route->metric = value;
	else if (strcmp(key, "on-link"))
		return refuse("a route has no such key here", key);
	return true;
}

/* Version 2: what is below ethernets/ID. */
static bool take_ethernet(struct item *item, const struct yaml_scalar *scalar, int at)
{
	/* They change nothing that is done here. */
	static const char * const ignored[] = {
		"renderer", "optional-addresses", "wakeonlan", "dhcp-identifier", "link-local", "dhcp4-overrides",
		"dhcp6-overrides", "ipv6-privacy", "critical"
	};
	struct card_config *card = &item->card;
	const char *value = scalar->value;
	size_t i;

	if (is_path(scalar, at, "match macaddress")) {
		item->mac = value;
	} else if (is_path(scalar, at, "match name")) {
		item->match_name = value;
	} else if (is_path(scalar, at, "set-name")) {
		item->set_name = value;
	} else if (is_path(scalar, at, "dhcp4")) {
		card->dhcp = is_true(value);
	} else if (is_path(scalar, at, "dhcp6")) {
		card->ipv6 = is_true(value);
	} else if (is_path(scalar, at, "accept-ra")) {
		card->no_routers = !is_true(value);
	} else if (is_path(scalar, at, "optional")) {
		card->optional = is_true(value);
	} else if (is_path(scalar, at, "mtu")) {
		card->mtu = atol(value);
	} else if (is_path(scalar, at, "gateway4")) {
		item->gateway4 = value;
	} else if (is_path(scalar, at, "gateway6")) {
		item->gateway6 = value;
	} else if (is_path(scalar, at, "addresses #")) {
		if (card->naddresses == MAX_ADDRESSES)
			return refuse("too many addresses", item->id);
		card->addresses[card->naddresses++] = value;
	} else if (is_path(scalar, at, "nameservers addresses #")) {
		return add_dns(value);
	} else if (is_path(scalar, at, "nameservers search #")) {
		return add_search(value);
	} else if (scalar->depth == at + 3 && !strcmp(scalar->path[at], "routes")) {
		return take_route(item, scalar, at + 1);
	} else if (scalar->depth > at || *value) {
		for (i = 0; scalar->depth > at && i < sizeof(ignored) / sizeof(ignored[0]); i++)
			if (!strcmp(scalar->path[at], ignored[i]))
				return true;
		return refuse("not known here", scalar->path[scalar->depth - 1]);
	}
	return true;
}

static bool take_subnet(struct item *item, const struct yaml_scalar *scalar, int at)
{
	unsigned long number = strtoul(scalar->path[at], NULL, 10);
	struct subnet *subnet;
	const char *value = scalar->value;

	if (number >= MAX_SUBNETS)
		return refuse("too many subnets", item->id);
	subnet = &item->subnets[number];
	if (number >= item->nsubnets)
		item->nsubnets = number + 1;
	at++;
	if (is_path(scalar, at, "type"))
		subnet->type = value;
	else if (is_path(scalar, at, "address"))
		subnet->address = value;
	else if (is_path(scalar, at, "netmask"))
		subnet->netmask = value;
	else if (is_path(scalar, at, "gateway"))
		subnet->gateway = value;
	else if (is_path(scalar, at, "dns_nameservers") || is_path(scalar, at, "dns_nameservers #"))
		return add_dns(value);
	else if (is_path(scalar, at, "dns_search") || is_path(scalar, at, "dns_search #"))
		return add_search(value);
	else if (scalar->depth == at + 3 && !strcmp(scalar->path[at], "routes"))
		return take_route(item, scalar, at + 1);
	else if (!is_path(scalar, at, "control") && !is_path(scalar, at, "broadcast") && !is_path(scalar, at, "ipv4") &&
		 !is_path(scalar, at, "ipv6"))
		return refuse("not known here", scalar->path[scalar->depth - 1]);
	return true;
}

/* Version 1: what is below config/NUMBER. */
static bool take_item(struct item *item, const struct yaml_scalar *scalar, int at)
{
	const char *value = scalar->value;

	if (is_path(scalar, at, "type")) {
		item->type = value;
		return !strcmp(value, "physical") || !strcmp(value, "nameserver") || refuse("type not known here", value);
	}
	if (is_path(scalar, at, "name"))
		item->name = value;
	else if (is_path(scalar, at, "mac_address"))
		item->mac = value;
	else if (is_path(scalar, at, "mtu"))
		item->card.mtu = atol(value);
	else if (is_path(scalar, at, "accept-ra"))
		item->card.no_routers = !is_true(value);
	else if (is_path(scalar, at, "address") || is_path(scalar, at, "address #"))
		return add_dns(value);
	else if (is_path(scalar, at, "search") || is_path(scalar, at, "search #"))
		return add_search(value);
	else if (scalar->depth > at + 2 && !strcmp(scalar->path[at], "subnets"))
		return take_subnet(item, scalar, at + 1);
	else if (!is_path(scalar, at, "interface"))
		return refuse("not known here", scalar->path[scalar->depth - 1]);
	return true;
}

static bool take_scalar(void *context, const struct yaml_scalar *scalar)
{
	/* Some have "network:" around all. */
	int at = scalar->depth > 0 && !strcmp(scalar->path[0], "network");
	struct item *item;

	(void)context;
	if (is_path(scalar, at, "version")) {
		reader.version = atoi(scalar->value);
		return true;
	}
	if (is_path(scalar, at, "renderer"))
		return true;
	if (scalar->depth <= at + 1 || (strcmp(scalar->path[at], "ethernets") && strcmp(scalar->path[at], "config"))) {
		/* What is there, but has nothing. */
		return (scalar->depth == at + 1 && !*scalar->value) || refuse("not known here", scalar->depth > at ? scalar->path[at] : scalar->value);
	}
	item = item_of(scalar->path[at + 1]);
	if (!item)
		return refuse("too many cards", scalar->path[at + 1]);
	return !strcmp(scalar->path[at], "ethernets") ? take_ethernet(item, scalar, at + 2) : take_item(item, scalar, at + 2);
}

/* Kept as long as we live. */
static char *keep(const char *format, const char *one, int number)
{
	char *text = reader.text + reader.used;
	int length = snprintf(text, sizeof(reader.text) - reader.used, format, one, number);

	if (length >= (int)(sizeof(reader.text) - reader.used)) {
		refuse("too long", one);
		return "";
	}
	reader.used += length + 1;
	return text;
}

/* With its bits, which a mask of IPv4 may say, or a number; without both, the address is the host's alone. */
static const char *with_bits(const char *address, const char *mask)
{
	struct ip ip;
	int bits = strchr(address, ':') ? 128 : 32;

	if (strchr(address, '/'))
		return address;
	if (mask && strchr(mask, '.')) {
		if (!parse_ip(mask, &ip) || ip.family != AF_INET)
			refuse("no mask", mask);
		else
			bits = __builtin_popcount(ip.v4.s_addr);
	} else if (mask) {
		bits = atoi(mask);
	}
	return keep("%s/%d", address, bits);
}

static bool add_route_to(struct card_config *card, const char *to, const char *via, const char *metric)
{
	if (card->nroutes == MAX_ROUTES)
		return refuse("too many routes", via);
	card->routes[card->nroutes].to = to;
	card->routes[card->nroutes].via = via;
	card->routes[card->nroutes++].metric = metric ? atol(metric) : 0;
	return true;
}

static bool finish_routes(struct item *item)
{
	struct prefix prefix;
	struct ip ip;
	int i;

	for (i = 0; i < item->nroutes; i++) {
		const struct route *route = &item->routes[i];
		const char *to = route->to && strcmp(route->to, "default") ? with_bits(route->to, route->netmask) : NULL;

		if (!route->via || !parse_ip(route->via, &ip))
			return refuse("a route without a gateway", route->to ? route->to : item->id);
		if (to && !parse_prefix(to, &prefix))
			return refuse("no destination", to);
		if (!add_route_to(&item->card, to, route->via, route->metric))
			return false;
	}
	return true;
}

static bool finish_subnets(struct item *item)
{
	struct card_config *card = &item->card;
	unsigned long i;

	for (i = 0; i < item->nsubnets; i++) {
		const struct subnet *subnet = &item->subnets[i];
		const char *type = subnet->type ? subnet->type : "";

		if (!strcmp(type, "dhcp") || !strcmp(type, "dhcp4")) {
			card->dhcp = true;
		} else if (!strcmp(type, "dhcp6") || !strcmp(type, "ipv6_slaac") ||
			   !strcmp(type, "ipv6_dhcpv6-stateless") || !strcmp(type, "ipv6_dhcpv6-stateful")) {
			card->ipv6 = true;
		} else if (!strcmp(type, "static") || !strcmp(type, "static6")) {
			if (!subnet->address)
				return refuse("a subnet without an address", item->id);
			if (card->naddresses == MAX_ADDRESSES)
				return refuse("too many addresses", item->id);
			card->addresses[card->naddresses++] = with_bits(subnet->address, subnet->netmask);
		} else if (strcmp(type, "manual")) {
			return refuse("subnet's type not known here", type);
		}
		if (subnet->gateway && !add_route_to(card, NULL, subnet->gateway, NULL))
			return false;
	}
	return true;
}

/* As Linux writes it. */
static bool lower_mac(const char **mac)
{
	char *text = keep("%s", *mac, 0), *at;

	for (at = text; *at; at++)
		if (*at >= 'A' && *at <= 'F')
			*at += 'a' - 'A';
	*mac = text;
	return strlen(text) == 17 || refuse("no hardware address", *mac);
}

static bool finish_item(struct item *item)
{
	struct card_config *card = &item->card;
	struct prefix prefix;
	struct ip ip;
	int i;

	if (item->type && !strcmp(item->type, "nameserver"))
		return true;
	if (reader.version == 1 && (!item->type || !item->name))
		return refuse("an entry without a type or a name", item->id);
	if (item->mac && !lower_mac(&item->mac))
		return false;
	card->mac = item->mac;
	card->name = reader.version == 1 ? item->name : item->mac ? item->set_name :
		item->match_name ? item->match_name : item->id;
	if (card->name && strlen(card->name) >= IF_NAMESIZE)
		return refuse("no name of an interface", card->name);
	if (card->name && strpbrk(card->name, "*?["))
		return refuse("a card is matched by its whole name, or by macaddress", card->name);
	if (!finish_subnets(item) || !finish_routes(item))
		return false;
	if (item->gateway4 && !add_route_to(card, NULL, item->gateway4, NULL))
		return false;
	if (item->gateway6 && !add_route_to(card, NULL, item->gateway6, NULL))
		return false;
	for (i = 0; i < card->naddresses; i++)
		if (!parse_prefix(card->addresses[i], &prefix) || !prefix.bits)
			return refuse("no address", card->addresses[i]);
	for (i = 0; i < card->nroutes; i++)
		if (!parse_ip(card->routes[i].via, &ip))
			return refuse("no gateway", card->routes[i].via);
	if (reader.network->ncards == MAX_CARDS)
		return refuse("too many cards", item->id);
	reader.network->cards[reader.network->ncards++] = *card;
	return true;
}

/* What the text says goes on being in it.  False, with what is wrong in `problem`, if it is not of the kind that we know. */
bool parse_network_config(char *text, struct network *network, char *problem, size_t size)
{
	struct ip ip;
	int i;

	memset(&reader, 0, sizeof(reader));
	memset(network, 0, sizeof(*network));
	reader.network = network;
	reader.problem = problem;
	reader.size = size;
	if (!parse_yaml(text, take_scalar, NULL, problem, size))
		return false;
	if (reader.version != 1 && reader.version != 2)
		return refuse("version 1 or 2 is wanted", "another, or none");
	for (i = 0; i < reader.nitems; i++)
		if (!finish_item(&reader.items[i]))
			return false;
	for (i = 0; i < network->ndns; i++)
		if (!parse_ip(network->dns[i], &ip))
			return refuse("no name server", network->dns[i]);
	/* What did not fit was said, and left. */
	return !problem[0];
}
