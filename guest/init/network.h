/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of init that bring the network up share; network.c says how they work together. */
#ifndef NETWORK_H
#define NETWORK_H

#include <net/if.h>
#include <stdint.h>
#include "init.h"

/* addresses.c: as people write them. */

struct ip {
	int family;		/* AF_INET, AF_INET6, or 0 for none */
	union {
		struct in_addr v4;
		struct in6_addr v6;
		uint8_t bytes[16];
	};
};

struct prefix {
	struct ip ip;
	int bits;
};

#define FOREVER		0xffffffffu	/* seconds, of leases and advertisements alike */

size_t ip_bytes(const struct ip *ip);
bool parse_ip(const char *text, struct ip *ip);
bool parse_prefix(const char *text, struct prefix *prefix);
const char *ip_text(const struct ip *ip, char text[INET6_ADDRSTRLEN]);

/* link.c: what the kernel is told, by rtnetlink(7). */

bool find_card(const char *mac, char name[IF_NAMESIZE]);
bool rename_card(const char *from, const char *to);
bool bring_up(int index);
bool take_down(int index);
bool set_mac(int index, const char *mac);
bool set_mtu(int index, uint32_t mtu);
bool set_address(int index, const struct prefix *address, uint32_t valid, uint32_t preferred);
bool drop_address(int index, const struct prefix *address);
bool add_route(int index, const struct prefix *to, const struct ip *via, uint32_t metric);

/* names.c: /etc/resolv.conf. */

#define MAX_SEARCH	256	/* what older C libraries read of it */

/* What one source says; who changes it publishes it. */
struct names {
	char servers[MAX_DNS][INET6_ADDRSTRLEN + IF_NAMESIZE];
	int nservers;
	char search[MAX_SEARCH];
	bool known;
	struct names *next;
};

void add_name_server(struct names *names, const struct ip *ip, const char *interface);
void publish_names(struct names *names);
const char *name_server(int number);

/* domains.c: names as they are in packets. */

bool is_domain(const char *text, size_t length);
void add_domain(char search[MAX_SEARCH], const char *text);
void read_domains(const uint8_t *data, size_t length, char search[MAX_SEARCH]);

/* A card that is set up. */
struct card {
	const struct card_config *config;
	char name[IF_NAMESIZE];
	int index;
	uint8_t mac[6];
	uint32_t metric;		/* of its routes: the first card's come first */
	struct prefix addresses[MAX_ADDRESSES];
	int naddresses;
	bool settled[MAX_ADDRESSES];	/* no neighbour has the same: RFC 4862, 5.4 */
	bool leased;			/* dhcp.c has an address */
	int unanswered;			/* and has asked in vain so often, over a link that was up */
	bool carrier;			/* the link is up */
	bool leased6;			/* dhcp6.c has one */
	bool asking6;			/* or has asked, and an answer may still come */
	bool address6;			/* one of IPv6 is there, of more than the link, and settled */
};

struct card *card_of(int index);

/* dhcp.c: an address of IPv4 that the network gives. */

void start_dhcp(struct card *card);
void tell_dhcp_of_link(struct card *card);
void forget_dhcp(struct card *card);

/* routers.c: what routers advertise. */

void watch_routers(void);

/* dhcp6.c: what they say is to be asked for. */

void start_dhcp6(struct card *card, bool managed);
void forget_dhcp6(struct card *card);

/* resolve.c: a question to the DNS. */

#define DNS_PACKET	512	/* RFC 1035, 4.2.1 */

enum answer { ANSWER_TO_OTHERS, ANSWER_NONE, ANSWER_FOUND };

size_t make_question(uint8_t packet[DNS_PACKET], uint16_t id, const char *name, int family);
enum answer read_answer(const uint8_t *packet, size_t size, const uint8_t *question, size_t length, struct ip *ip);

/* ntp.c: the time. */

void add_time_server(const char *name, const struct ip *ip, bool configured);
void start_clock(void);
bool awaits_time(void);

#endif
