// SPDX-License-Identifier: GPL-2.0-only
/* Addresses of IPv4 and IPv6, as people write them. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include "network.h"

size_t ip_bytes(const struct ip *ip)
{
	return ip->family == AF_INET6 ? sizeof(ip->v6) : sizeof(ip->v4);
}

/* An address of IPv4 or of IPv6. */
bool parse_ip(const char *text, struct ip *ip)
{
	memset(ip, 0, sizeof(*ip));
	ip->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	return inet_pton(ip->family, text, ip->bytes) == 1;
}

/* ADDRESS/BITS */
bool parse_prefix(const char *text, struct prefix *prefix)
{
	const char *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN], *end;

	if (!slash || slash - text >= (long)sizeof(address) || slash[1] < '0' || slash[1] > '9')
		return false;
	memcpy(address, text, slash - text);
	address[slash - text] = 0;
	prefix->bits = strtoul(slash + 1, &end, 10);
	return parse_ip(address, &prefix->ip) && !*end && end - slash <= 4 &&
		prefix->bits <= 8 * (int)ip_bytes(&prefix->ip);
}

const char *ip_text(const struct ip *ip, char text[INET6_ADDRSTRLEN])
{
	return inet_ntop(ip->family, ip->bytes, text, INET6_ADDRSTRLEN);
}
