// SPDX-License-Identifier: GPL-2.0-only
/*
 * What routers advertise (RFC 4861).  The kernel takes addresses and routes from their
 * messages (RFC 4862) and tells of the rest by rtnetlink(7): whether DHCPv6 is to be asked,
 * and name servers and domains (RFC 8106).  By the same way we learn that an address is
 * settled, and that a link has come.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/icmp6.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "network.h"

/* include/net/if_inet6.h of the kernel, which programs have no header for: IFLA_INET6_FLAGS. */
#define IF_RA_OTHERCONF	0x80
#define IF_RA_MANAGED	0x40

#define OPTION_RDNSS	25
#define OPTION_DNSSL	31

/* A flood is to leave time for others. */
#define MESSAGES_AT_ONCE	64

/* What each card's routers have said; it ends by itself. */
static struct said {
	struct ip servers[MAX_DNS];
	long ends[MAX_DNS];		/* by now_ms(); 0 if there is none */
	char search[MAX_SEARCH];
	long search_ends;
	bool changed;
	struct names names;
} all_said[MAX_CARDS];

static struct card *card_at[MAX_CARDS];

static struct service service;

static struct said *said_of(struct card *card)
{
	int i;

	for (i = 0; i < MAX_CARDS - 1 && card_at[i] && card_at[i] != card; i++)
		;
	card_at[i] = card;
	return &all_said[i];
}

static void publish(struct card *card)
{
	struct said *said = said_of(card);
	int i;

	said->changed = false;
	said->names.nservers = 0;
	for (i = 0; i < MAX_DNS; i++)
		if (said->ends[i])
			add_name_server(&said->names, &said->servers[i], card->name);
	strcpy(said->names.search, said->search_ends ? said->search : "");
	publish_names(&said->names);
}

static long end_of(uint32_t lifetime)
{
	return lifetime == FOREVER ? NEVER : now_ms() + lifetime * 1000l;
}

/*
 * Takes away what is over by now, and publishes what has changed: once for all messages that
 * have come, or who sends many would have a file written for each.
 */
static void settle(void)
{
	long now = now_ms();
	int i, j;

	service.due = NEVER;
	for (i = 0; i < MAX_CARDS && card_at[i]; i++) {
		struct said *said = &all_said[i];

		for (j = 0; j <= MAX_DNS; j++) {
			long *end = j < MAX_DNS ? &said->ends[j] : &said->search_ends;

			if (*end && *end <= now) {
				*end = 0;
				said->changed = true;
			} else if (*end && *end < service.due) {
				service.due = *end;
			}
		}
		if (said->changed)
			publish(card_at[i]);
	}
}

/* RFC 8106, 5.1, 6.2: a lifetime of 0 takes it back; the one that ends first makes room.  True if there is news. */
static bool take_server(struct said *said, const struct in6_addr *address, uint32_t lifetime)
{
	int i, place = 0;

	for (i = 0; i < MAX_DNS; i++) {
		if (said->ends[i] && !memcmp(&said->servers[i].v6, address, sizeof(*address))) {
			said->ends[i] = lifetime ? end_of(lifetime) : 0;
			return !lifetime;
		}
		if (said->ends[i] < said->ends[place])
			place = i;
	}
	if (!lifetime || IN6_IS_ADDR_UNSPECIFIED(address) || IN6_IS_ADDR_MULTICAST(address) || said->ends[place])
		return false;
	said->servers[place] = (struct ip) { .family = AF_INET6, .v6 = *address };
	said->ends[place] = end_of(lifetime);
	return true;
}

static bool take_search(struct said *said, const uint8_t *data, size_t length, uint32_t lifetime)
{
	char search[MAX_SEARCH] = "";
	bool changed;

	read_domains(data, length, search);
	changed = !said->search_ends != !lifetime || strcmp(search, said->search);
	strcpy(said->search, search);
	said->search_ends = lifetime ? end_of(lifetime) : 0;
	return changed;
}

/* Options as RFC 4861, 4.6 has them: type, length in units of eight bytes, and here a lifetime. */
static void take_options(struct card *card, const uint8_t *at, size_t left)
{
	struct said *said = said_of(card);
	size_t length, i;
	uint32_t lifetime;

	for (; left >= 8; at += length, left -= length) {
		length = at[1] * 8;
		if (length == 0 || length > left)
			break;
		memcpy(&lifetime, at + 4, sizeof(lifetime));
		lifetime = ntohl(lifetime);
		if (at[0] == OPTION_DNSSL)
			said->changed |= take_search(said, at + 8, length - 8, lifetime);
		for (i = 8; at[0] == OPTION_RDNSS && i + 16 <= length; i += 16) {
			struct in6_addr address;

			memcpy(&address, at + i, sizeof(address));
			said->changed |= take_server(said, &address, lifetime);
		}
	}
}

static void take_user_option(const struct nduseroptmsg *message, size_t length)
{
	struct card *card;

	if (length < sizeof(*message) || message->nduseropt_opts_len > length - sizeof(*message))
		return;
	card = card_of(message->nduseropt_ifindex);
	if (card && message->nduseropt_icmp_type == ND_ROUTER_ADVERT && !card->config->no_routers)
		take_options(card, (const uint8_t *)(message + 1), message->nduseropt_opts_len);
}

static const struct rtattr *find_attribute(const void *at, size_t length, int type)
{
	const struct rtattr *attribute = at;

	for (; RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length))
		if ((attribute->rta_type & NLA_TYPE_MASK) == type)
			return attribute;
	return NULL;
}

/* Which of both a router wants. */
static void take_flags(struct card *card, uint32_t flags)
{
	bool managed = flags & IF_RA_MANAGED;

	if (!card->config->dhcp && !card->config->ipv6)
		return;
	if (managed || flags & IF_RA_OTHERCONF)
		start_dhcp6(card, managed);
}

static void take_carrier(struct card *card, bool carrier)
{
	bool comes = carrier && !card->carrier;

	card->carrier = carrier;
	if (comes && card->config->dhcp)
		tell_dhcp_of_link(card);
}

static void take_link(const struct ifinfomsg *message, size_t length)
{
	const struct rtattr *six, *flags;
	struct card *card;
	uint32_t value;

	if (length < sizeof(*message))
		return;
	card = card_of(message->ifi_index);
	if (card && message->ifi_family == AF_UNSPEC)
		take_carrier(card, message->ifi_flags & IFF_RUNNING);
	six = find_attribute(IFLA_RTA(message), length - NLMSG_ALIGN(sizeof(*message)), IFLA_PROTINFO);
	if (!card || !six)
		return;
	flags = find_attribute(RTA_DATA(six), RTA_PAYLOAD(six), IFLA_INET6_FLAGS);
	if (!flags || RTA_PAYLOAD(flags) < sizeof(value))
		return;
	memcpy(&value, RTA_DATA(flags), sizeof(value));
	take_flags(card, value);
}

static void take_address(const struct ifaddrmsg *message, size_t length)
{
	const struct rtattr *address, *more;
	struct card *card;
	uint32_t flags;
	int i;

	if (length < sizeof(*message))
		return;
	card = card_of(message->ifa_index);
	address = find_attribute(IFA_RTA(message), length - NLMSG_ALIGN(sizeof(*message)), IFA_ADDRESS);
	more = find_attribute(IFA_RTA(message), length - NLMSG_ALIGN(sizeof(*message)), IFA_FLAGS);
	if (!card || message->ifa_family != AF_INET6 || !address || RTA_PAYLOAD(address) < 16)
		return;
	flags = message->ifa_flags;
	if (more && RTA_PAYLOAD(more) >= sizeof(flags))
		memcpy(&flags, RTA_DATA(more), sizeof(flags));
	if (flags & IFA_F_DADFAILED)
		say("init: %s: a neighbour has one of its addresses\n", card->name);
	else if (flags & IFA_F_TENTATIVE)
		return;
	for (i = 0; i < card->naddresses; i++)
		card->settled[i] |= !memcmp(card->addresses[i].ip.bytes, RTA_DATA(address), 16);
	if (flags & IFA_F_DADFAILED)
		return;
	card->address6 |= message->ifa_scope < RT_SCOPE_LINK;
}

static void take_message(const struct nlmsghdr *head)
{
	size_t length = head->nlmsg_len - NLMSG_HDRLEN;

	switch (head->nlmsg_type) {
	case RTM_NEWNDUSEROPT:
		take_user_option(NLMSG_DATA(head), length);
		break;
	case RTM_NEWLINK:
		take_link(NLMSG_DATA(head), length);
		break;
	case RTM_NEWADDR:
		take_address(NLMSG_DATA(head), length);
		break;
	}
}

static void step(struct service *this)
{
	static char buffer[16384] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct sockaddr_nl from;
	int left = MESSAGES_AT_ONCE;
	const struct nlmsghdr *head;
	socklen_t size;
	int n;

	while (left--) {
		size = sizeof(from);
		n = recvfrom(this->fd, buffer, sizeof(buffer), MSG_DONTWAIT, (struct sockaddr *)&from, &size);
		/* What the kernel had no room for, routers say again. */
		if (n < 0 && errno == ENOBUFS)
			continue;
		if (n < 0)
			break;
		if (from.nl_pid)
			continue;
		for (head = (void *)buffer; NLMSG_OK(head, (unsigned int)n); head = NLMSG_NEXT(head, n))
			take_message(head);
	}
	settle();
}

/* Where the kernel has no IPv6, nothing comes. */
void watch_routers(void)
{
	static const int groups[] = { RTNLGRP_LINK, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_IFINFO, RTNLGRP_ND_USEROPT };
	struct sockaddr_nl any = { .nl_family = AF_NETLINK };
	size_t i;

	/* A clone's network may need them where that of the saved guest did not. */
	if (service.step)
		return;
	service = (struct service) { .due = NEVER, .step = step };
	service.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (service.fd < 0 || bind(service.fd, (struct sockaddr *)&any, sizeof(any)))
		fail("rtnetlink");
	for (i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		setsockopt(service.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i]));
	add_service(&service);
}
