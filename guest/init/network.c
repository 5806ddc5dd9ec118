// SPDX-License-Identifier: GPL-2.0-only
/* Interfaces, addresses and name servers, as the spec says. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "init.h"

/* How long a network card of Hyper-V's may take to come. */
#define INTERFACE_MS	5000

/* For ioctls alone, which any socket takes. */
static int any_socket(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd;
}

static struct ifreq request_for(const char *interface)
{
	struct ifreq ifr = { 0 };

	strncpy(ifr.ifr_name, interface, sizeof(ifr.ifr_name) - 1);
	return ifr;
}

void bring_up(const char *interface)
{
	struct ifreq ifr = request_for(interface);

	ioctl(any_socket(), SIOCGIFFLAGS, &ifr);
	ifr.ifr_flags |= IFF_UP | IFF_RUNNING;
	if (ioctl(any_socket(), SIOCSIFFLAGS, &ifr))
		fail(interface);
}

static bool request_address(unsigned long request, const char *interface, struct in_addr address)
{
	struct ifreq ifr = request_for(interface);
	struct sockaddr_in *in = (struct sockaddr_in *)&ifr.ifr_addr;

	in->sin_family = AF_INET;
	in->sin_addr = address;
	return ioctl(any_socket(), request, &ifr) == 0;
}

/* An address of 0.0.0.0 takes the interface's away; without a mask, its class has one. */
bool set_address(const char *interface, struct in_addr address, struct in_addr mask)
{
	return request_address(SIOCSIFADDR, interface, address) &&
		(!mask.s_addr || request_address(SIOCSIFNETMASK, interface, mask));
}

bool add_gateway(const char *interface, struct in_addr gateway)
{
	struct rtentry route = {
		.rt_flags = RTF_UP | RTF_GATEWAY,
		.rt_dev = (char *)interface,
	};
	struct sockaddr_in *in = (struct sockaddr_in *)&route.rt_gateway;

	route.rt_dst.sa_family = AF_INET;
	route.rt_genmask.sa_family = AF_INET;
	in->sin_family = AF_INET;
	in->sin_addr = gateway;
	return ioctl(any_socket(), SIOCADDRT, &route) == 0;
}

/* A file that the image has of its own stays as it is. */
void write_resolv_conf(const char * const *dns, int count)
{
	int fd, i;

	if (count == 0)
		return;
	fd = open("/etc/resolv.conf", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 && errno == EEXIST)
		return;
	if (fd < 0)
		fail("/etc/resolv.conf");
	for (i = 0; i < count; i++)
		dprintf(fd, "nameserver %s\n", dns[i]);
	close(fd);
}

static struct in_addr parse_address(const char *text)
{
	struct in_addr address;

	if (inet_pton(AF_INET, text, &address) != 1) {
		errno = EINVAL;
		fail(text);
	}
	return address;
}

/* A.B.C.D/BITS */
static void set_static_address(const char *interface, const char *text)
{
	char address[INET_ADDRSTRLEN] = "";
	struct in_addr mask;
	int bits = -1;

	if (sscanf(text, "%15[0-9.]/%d", address, &bits) != 2 || bits < 1 || bits > 32) {
		errno = EINVAL;
		fail(text);
	}
	mask.s_addr = htonl(~0u << (32 - bits));
	if (!set_address(interface, parse_address(address), mask))
		fail(interface);
}

/* Who starts an image without a channel can still say UKL_NETWORK=none|dhcp|ADDRESS/BITS[,GATEWAY[,DNS...]] to the kernel. */
void override_network(struct network *network)
{
	char *text = getenv("UKL_NETWORK"), *word;

	if (!text)
		return;
	*network = (struct network) { .interface = network->interface };
	if (!strcmp(text, "dhcp"))
		network->dhcp = true;
	if (!strchr(text, '/'))
		return;
	network->address = strsep(&text, ",");
	word = strsep(&text, ",");
	network->gateway = word && *word ? word : NULL;
	while ((word = strsep(&text, ",")) && network->ndns < MAX_DNS)
		network->dns[network->ndns++] = word;
}

/* For whoever stands before the machine: what it is, and how to reach it. */
void announce(const struct spec *spec)
{
	struct ifaddrs *all = NULL, *one;
	char text[INET_ADDRSTRLEN];
	struct utsname name;

	uname(&name);
	say("%s: %s of Linux %s\n", spec->hostname ? spec->hostname : "ukl", spec->file, name.release);
	if (getifaddrs(&all))
		return;
	for (one = all; one; one = one->ifa_next) {
		const struct sockaddr_in *in = (struct sockaddr_in *)one->ifa_addr;

		if (!in || in->sin_family != AF_INET || one->ifa_flags & IFF_LOOPBACK)
			continue;
		if (inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text)))
			say("%s: %s on %s\n", name.nodename, text, one->ifa_name);
	}
	freeifaddrs(all);
}

/*
 * Hyper-V tells of its devices when it likes; all others are known before init starts.
 * An interface has no file in /dev whose making could be awaited.
 */
static bool wait_for_interface(const char *interface)
{
	long end = now_ms() + (access("/sys/bus/vmbus/devices", F_OK) ? 0 : INTERFACE_MS);

	while (!if_nametoindex(interface)) {
		if (now_ms() > end)
			return false;
		usleep(20000);
	}
	return true;
}

void set_up_network(const struct network *network)
{
	bring_up("lo");
	if (!network->dhcp && !network->address)
		return;
	/* Started by itself, the image takes the machine as it is. */
	if (!have_host() && !wait_for_interface(network->interface)) {
		say("init: there is no %s\n", network->interface);
		return;
	}
	if (network->dhcp) {
		bring_up(network->interface);
		acquire_lease(network->interface);
		return;
	}
	set_static_address(network->interface, network->address);
	bring_up(network->interface);
	if (network->gateway && !add_gateway(network->interface, parse_address(network->gateway)))
		fail("route");
	write_resolv_conf(network->dns, network->ndns);
}
