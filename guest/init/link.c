// SPDX-License-Identifier: GPL-2.0-only
/* Interfaces, addresses and routes, as the kernel is told of them: rtnetlink(7). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "network.h"

struct request {
	struct nlmsghdr head;
	union {
		struct ifaddrmsg address;
		struct rtmsg route;
		struct ifinfomsg link;
	};
	char attributes[128];
};

static void put(struct request *request, int type, const void *data, size_t length)
{
	struct rtattr *to = (void *)((char *)request + NLMSG_ALIGN(request->head.nlmsg_len));

	to->rta_type = type;
	to->rta_len = RTA_LENGTH(length);
	memcpy(RTA_DATA(to), data, length);
	request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len) + RTA_ALIGN(to->rta_len);
}

static struct request request_for(int type, int flags, size_t body)
{
	return (struct request) {
		.head.nlmsg_type = type,
		.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags,
		.head.nlmsg_len = NLMSG_LENGTH(body),
	};
}

/* The kernel has answered when send() returns.  False, with errno, if it refuses. */
static bool ask(const struct request *request)
{
	static int fd = -1;
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[512];
	} answer;
	long n;

	if (fd < 0)
		fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (send(fd, request, request->head.nlmsg_len, 0) < 0)
		return false;
	n = recv(fd, &answer, sizeof(answer), 0);
	if (n < (long)NLMSG_LENGTH(sizeof(answer.error)) || answer.head.nlmsg_type != NLMSG_ERROR) {
		if (n >= 0)
			errno = EPROTO;
		return false;
	}
	errno = -answer.error.error;
	return errno == 0;
}

/* The name of the interface with this hardware address. */
bool find_card(const char *mac, char name[IF_NAMESIZE])
{
	DIR *all = opendir("/sys/class/net");
	struct dirent *entry;
	bool found = false;
	char path[300], text[32];
	int fd;
	long n;

	while (all && !found && (entry = readdir(all))) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= IF_NAMESIZE)
			continue;
		snprintf(path, sizeof(path), "/sys/class/net/%s/address", entry->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
		if (fd >= 0)
			close(fd);
		text[n > 0 ? n : 0] = 0;
		text[strcspn(text, "\n")] = 0;
		found = !strcasecmp(text, mac);
		if (found)
			strcpy(name, entry->d_name);
	}
	if (all)
		closedir(all);
	return found;
}

static bool try_rename(const char *from, const char *to)
{
	struct ifreq ifr = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool done;

	strncpy(ifr.ifr_name, from, sizeof(ifr.ifr_name) - 1);
	strncpy(ifr.ifr_newname, to, sizeof(ifr.ifr_newname) - 1);
	done = ioctl(fd, SIOCSIFNAME, &ifr) == 0;
	close(fd);
	return done;
}

/* Another one that has the name gets a free one.  They have to be down. */
bool rename_card(const char *from, const char *to)
{
	if (!strcmp(from, to))
		return true;
	if (if_nametoindex(to) && !try_rename(to, "other%d"))
		return false;
	return try_rename(from, to);
}

static bool set_flags(int index, unsigned int flags)
{
	struct request request = request_for(RTM_NEWLINK, 0, sizeof(request.link));

	request.link.ifi_index = index;
	request.link.ifi_flags = flags;
	request.link.ifi_change = IFF_UP;
	return ask(&request);
}

bool bring_up(int index)
{
	return set_flags(index, IFF_UP);
}

/* The kernel forgets its routes, and its addresses of IPv6 (net/ipv6/addrconf.c). */
bool take_down(int index)
{
	return set_flags(index, 0);
}

/* In hex, with colons, as Linux writes it. */
bool set_mac(int index, const char *mac)
{
	struct request request = request_for(RTM_NEWLINK, 0, sizeof(request.link));
	uint8_t bytes[6];

	if (sscanf(mac, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &bytes[0], &bytes[1], &bytes[2],
		   &bytes[3], &bytes[4], &bytes[5]) != 6) {
		errno = EINVAL;
		return false;
	}
	request.link.ifi_index = index;
	put(&request, IFLA_ADDRESS, bytes, sizeof(bytes));
	return ask(&request);
}

bool set_mtu(int index, uint32_t mtu)
{
	struct request request = request_for(RTM_NEWLINK, 0, sizeof(request.link));

	request.link.ifi_index = index;
	put(&request, IFLA_MTU, &mtu, sizeof(mtu));
	return ask(&request);
}

static struct request address_request(int type, int flags, int index, const struct prefix *address)
{
	struct request request = request_for(type, flags, sizeof(request.address));

	request.address.ifa_family = address->ip.family;
	request.address.ifa_prefixlen = address->bits;
	request.address.ifa_index = index;
	put(&request, IFA_LOCAL, address->ip.bytes, ip_bytes(&address->ip));
	return request;
}

/* For so many seconds: the kernel takes it away after them. */
bool set_address(int index, const struct prefix *address, uint32_t valid, uint32_t preferred)
{
	struct request request = address_request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, address);
	struct ifa_cacheinfo lifetimes = { .ifa_prefered = preferred, .ifa_valid = valid };
	struct in_addr broadcast;

	if (address->ip.family == AF_INET && address->bits < 31) {
		broadcast.s_addr = address->ip.v4.s_addr | htonl(~0u >> address->bits);
		put(&request, IFA_BROADCAST, &broadcast, sizeof(broadcast));
	}
	if (valid != FOREVER || address->ip.family == AF_INET6)
		put(&request, IFA_CACHEINFO, &lifetimes, sizeof(lifetimes));
	return ask(&request);
}

bool drop_address(int index, const struct prefix *address)
{
	struct request request = address_request(RTM_DELADDR, 0, index, address);

	return ask(&request);
}

/* Without a gateway, the link itself.  The gateway is on the link, whatever the addresses' masks say. */
bool add_route(int index, const struct prefix *to, const struct ip *via, uint32_t metric)
{
	struct request request = request_for(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(request.route));
	static const struct ip nowhere;
	bool direct = !via->family || !memcmp(via->bytes, nowhere.bytes, sizeof(via->bytes));

	request.route = (struct rtmsg) {
		.rtm_family = to->ip.family, .rtm_dst_len = to->bits, .rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT, .rtm_type = RTN_UNICAST,
		.rtm_scope = direct && to->ip.family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
		.rtm_flags = direct ? 0 : RTNH_F_ONLINK,
	};
	if (to->bits)
		put(&request, RTA_DST, to->ip.bytes, ip_bytes(&to->ip));
	if (!direct)
		put(&request, RTA_GATEWAY, via->bytes, ip_bytes(via));
	put(&request, RTA_OIF, &index, sizeof(index));
	if (metric)
		put(&request, RTA_PRIORITY, &metric, sizeof(metric));
	return ask(&request);
}
