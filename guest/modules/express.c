// SPDX-License-Identifier: GPL-2.0-only
/*
 * A short way between TCP and the driver for servers in ring 0: small segments
 * of IPv4 connections that such a server accepted.  TCP itself is Linux's; what
 * is left out lies between it and the device, and has nothing to do for these.
 *
 * Out: TCP calls queue_xmit() of its socket.  Ours copies a small segment into
 * one piece, with the checksum on the way if the device has none, puts the IP
 * header and the neighbour's cached hardware header in front, and gives it to
 * the driver.
 *
 * In: from the device to the established socket and tcp_v4_do_rcv(), without
 * merging small messages first (GRO), of which there is nothing to merge.
 *
 * Whatever is not plain goes the ordinary way: options, fragments, filters, raw
 * sockets, a queue that is full or one of several, a neighbour to be asked for;
 * out, what is long, sent again after a timeout, or captured (tcpdump); in, FIN
 * and RST, a segment whose route is to be looked at.  Both ways
 * can be used in turn.
 */
#include <linux/if_ether.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <net/arp.h>
#include <net/hotdata.h>
#include <net/inet_common.h>
#include <net/inet_connection_sock.h>
#include <net/inet_hashtables.h>
#include <net/ip.h>
#include <net/neighbour.h>
#include <net/raw.h>
#include <net/route.h>
#include <net/sch_generic.h>
#include <net/tcp.h>
#include <net/transp_v6.h>
#include <asm/ukl.h>

/* Of what is sent, with TCP's header. Copying pays up to here; what is longer is mostly payload. */
#define SMALL		512
/*
 * In front of the segment: IP, Ethernet, and virtio-net's header, which the driver
 * puts there if it fits and is aligned (xmit_skb()).  One piece of memory is one
 * descriptor, and needs no table of them.
 */
#define HEADROOM	(sizeof(struct iphdr) + ETH_HLEN + 16)

static unsigned long sent, received;
module_param(sent, ulong, 0444);
MODULE_PARM_DESC(sent, "segments that went the short way, about");
module_param(received, ulong, 0444);
MODULE_PARM_DESC(received, "segments that came the short way, about");

/* The operations of accepted sockets, with queue_xmit() of ours: IPv4, and IPv4 by an IPv6 socket. */
static struct short_ops {
	const struct inet_connection_sock_af_ops *base;
	struct inet_connection_sock_af_ops ops;
	struct sock *(*accept)(struct sock *sk, struct proto_accept_arg *arg);
} by_v4, by_v6;
static DEFINE_SPINLOCK(ops_lock);

static bool is_short(struct sock *sk)
{
	const struct inet_connection_sock_af_ops *ops = READ_ONCE(inet_csk(sk)->icsk_af_ops);

	return ops == &by_v4.ops || ops == &by_v6.ops;
}

/* Filters of packets that the kernel may have, all unset in ours. */
static bool filtered(struct net *net)
{
#ifdef CONFIG_NETFILTER
	int i;

	for (i = 0; i < NF_INET_NUMHOOKS; i++)
		if (rcu_access_pointer(net->nf.hooks_ipv4[i]))
			return true;
#endif
	return IS_ENABLED(CONFIG_XFRM) || IS_ENABLED(CONFIG_CGROUP_BPF) ||
	       IS_ENABLED(CONFIG_NET_XGRESS) || IS_ENABLED(CONFIG_SECURITY_NETWORK);
}

/*
 * Buffers of what is sent, used again in turn.  We hold each as well as the driver
 * does: it is ours alone when the driver has let go of it, and never freed.
 */
#define BUFFERS		64
static struct buffers {
	struct sk_buff *skb[BUFFERS];
	unsigned int next;
} __percpu *buffers;

/* As __build_skb_around() leaves it; nobody has changed what is not reset here. */
static void reset_buffer(struct sk_buff *skb)
{
	unsigned int alloc_cpu = skb->alloc_cpu;

	memset(skb, 0, offsetof(struct sk_buff, tail));
	skb->alloc_cpu = alloc_cpu;
	skb->data = skb->head;
	skb_reset_tail_pointer(skb);
	skb->mac_header = (typeof(skb->mac_header))~0U;
	skb->transport_header = (typeof(skb->transport_header))~0U;
}

/* An empty buffer for a segment; softirqs are off. */
static struct sk_buff *get_buffer(void)
{
	struct buffers *mine = this_cpu_ptr(buffers);
	unsigned int i = mine->next++ % BUFFERS;
	struct sk_buff *skb = mine->skb[i];

	if (skb && refcount_read(&skb->users) == 1 && !skb_cloned(skb)) {
		smp_rmb(); /* as skb_unref() */
		reset_buffer(skb);
	} else {
		skb = alloc_skb(HEADROOM + SMALL, GFP_ATOMIC);
		/* In flight still, or somebody's copy: this one is for once. */
		if (!skb || mine->skb[i])
			return skb;
		mine->skb[i] = skb;
	}
	return skb_get(skb);
}

/* The segment, in one piece, behind room for the other headers. */
static struct sk_buff *copy_segment(struct sk_buff *skb, bool checksum)
{
	unsigned int len = skb->len, header = tcp_hdrlen(skb);
	struct sk_buff *copy = get_buffer();
	struct tcphdr *th;
	__wsum sum;

	if (!copy)
		return NULL;
	skb_reserve(copy, HEADROOM);
	skb_reset_transport_header(copy);
	th = skb_put(copy, len);
	memcpy(th, skb->data, header);
	if (!checksum) {
		if (skb_copy_bits(skb, header, (u8 *)th + header, len - header))
			goto free;
		copy->ip_summed = CHECKSUM_PARTIAL;
		copy->csum_start = skb_transport_header(copy) - copy->head;
		copy->csum_offset = offsetof(struct tcphdr, check);
		return copy;
	}
	/* As skb_checksum_help(): the field holds that of the pseudo header. */
	sum = len > header ? skb_copy_and_csum_bits(skb, header, (u8 *)th + header, len - header) : 0;
	th->check = csum_fold(csum_partial(th, header, sum)) ?: CSUM_MANGLED_0;
	return copy;
free:
	kfree_skb(copy);
	return NULL;
}

static void put_ip_header(struct sk_buff *copy, struct sock *sk, struct rtable *rt, bool may_fragment)
{
	struct iphdr *iph = skb_push(copy, sizeof(*iph));
	struct inet_sock *inet = inet_sk(sk);
	int ttl = READ_ONCE(inet->uc_ttl);

	skb_reset_network_header(copy);
	*((__be16 *)iph) = htons((4 << 12) | (5 << 8) | (READ_ONCE(inet->tos) & 0xff));
	iph->tot_len = htons(copy->len);
	iph->frag_off = !may_fragment && ip_dont_fragment(sk, &rt->dst) ? htons(IP_DF) : 0;
	iph->ttl = ttl < 0 ? ip4_dst_hoplimit(&rt->dst) : ttl;
	iph->protocol = IPPROTO_TCP;
	iph->saddr = inet->inet_saddr;
	iph->daddr = inet->inet_daddr;
	ip_select_ident_segs(sock_net(sk), copy, sk, 1);
	ip_send_check(iph);
}

static bool queue_is_plain(struct netdev_queue *queue)
{
	struct Qdisc *q = rcu_dereference_bh(queue->qdisc);

	return (q->flags & (TCQ_F_NOLOCK | TCQ_F_CAN_BYPASS)) == (TCQ_F_NOLOCK | TCQ_F_CAN_BYPASS) &&
	       nolock_qdisc_is_empty(q) && !netif_xmit_frozen_or_stopped(queue);
}

/* Whether the segment is the driver's, or gone. */
static bool send_short(struct sock *sk, struct sk_buff *skb, struct rtable *rt)
{
	struct net_device *dev = rt->dst.dev;
	struct netdev_queue *queue;
	struct neighbour *neigh;
	struct sk_buff *copy;
	struct hh_cache *hh;
	unsigned int seq;
	int rc = NETDEV_TX_BUSY;

	/*
	 * Of several queues, those of long segments are chosen elsewhere.  A driver that
	 * wants a packet for itself, or more room in front, would have to change ours.
	 */
	if (dev->type != ARPHRD_ETHER || !(dev->priv_flags & IFF_TX_SKB_SHARING) ||
	    dev->needed_headroom > HEADROOM - sizeof(struct iphdr) - ETH_HLEN || !netif_running(dev) || dev->real_num_tx_queues != 1 ||
	    dev_nit_active(dev) ||
	    rt->rt_gw_family == AF_INET6 || filtered(sock_net(sk)))
		return false;
	neigh = __ipv4_neigh_lookup_noref(dev, (__force u32)rt_nexthop(rt, inet_sk(sk)->inet_daddr));
	/* One that nobody asks though it may have changed is the ordinary way's. */
	if (!neigh || !(READ_ONCE(neigh->nud_state) & (NUD_CONNECTED | NUD_DELAY | NUD_PROBE)))
		return false;
	hh = &neigh->hh;
	if (READ_ONCE(hh->hh_len) != ETH_HLEN)
		return false;
	queue = netdev_get_tx_queue(dev, 0);
	if (!queue_is_plain(queue))
		return false;
	copy = copy_segment(skb, !(dev->features & (NETIF_F_IP_CSUM | NETIF_F_HW_CSUM)));
	if (!copy)
		return false;
	put_ip_header(copy, sk, rt, skb->ignore_df);
	copy->protocol = htons(ETH_P_IP);
	copy->dev = dev;
	copy->mark = READ_ONCE(sk->sk_mark);
	copy->priority = READ_ONCE(sk->sk_priority);
	skb_copy_hash(copy, skb);
	sock_confirm_neigh(skb, neigh);
	do {
		seq = read_seqbegin(&hh->hh_lock);
		/* Aligned, as neigh_hh_output() has it. */
		memcpy(copy->data - HH_DATA_MOD, hh->hh_data, HH_DATA_MOD);
	} while (read_seqretry(&hh->hh_lock, seq));
	__skb_push(copy, ETH_HLEN);
	skb_reset_mac_header(copy);
	IP_INC_STATS(sock_net(sk), IPSTATS_MIB_OUTREQUESTS);
	IP_UPD_PO_STATS(sock_net(sk), IPSTATS_MIB_OUT, copy->len - ETH_HLEN);

	HARD_TX_LOCK(dev, queue, smp_processor_id());
	if (!netif_xmit_frozen_or_stopped(queue))
		rc = netdev_start_xmit(copy, dev, queue, false);
	HARD_TX_UNLOCK(dev, queue);
	/* Lost, as on a full wire: TCP sends it again. */
	if (!dev_xmit_complete(rc))
		kfree_skb(copy);
	sent++;
	return true;
}

static int queue_xmit(struct sock *sk, struct sk_buff *skb, struct flowi *fl)
{
	struct rtable *rt;
	bool done = false;

	/* Of what is sent again, TCP looks for the last copy in the device's queue: not for ours. */
	if (skb->len > SMALL || skb_is_gso(skb) || skb_dst(skb) || skb_shinfo(skb)->tx_flags ||
	    skb->ip_summed != CHECKSUM_PARTIAL || inet_csk(sk)->icsk_ca_state == TCP_CA_Loss)
		return ip_queue_xmit(sk, skb, fl);
	rcu_read_lock();
	local_bh_disable();
	rt = dst_rtable(__sk_dst_check(sk, 0));
	if (rt && rt->rt_type == RTN_UNICAST && !rt->dst.lwtstate && rt->dst.output == ip_output &&
	    !rcu_access_pointer(inet_sk(sk)->inet_opt) &&
	    skb->len + sizeof(struct iphdr) <= dst_mtu(&rt->dst))
		done = send_short(sk, skb, rt);
	local_bh_enable();
	rcu_read_unlock();
	if (!done)
		return ip_queue_xmit(sk, skb, fl);
	consume_skb(skb);
	return NET_XMIT_SUCCESS;
}

/* What a connection of the ordinary way has may differ later: once for all of a family. */
static void shorten(struct sock *sk, struct short_ops *its)
{
	struct inet_connection_sock *icsk = inet_csk(sk);
	const struct inet_connection_sock_af_ops *base = READ_ONCE(icsk->icsk_af_ops);

	if (!smp_load_acquire(&its->base)) {
		spin_lock_bh(&ops_lock);
		if (!its->base && base->queue_xmit == ip_queue_xmit) {
			its->ops = *base;
			its->ops.queue_xmit = queue_xmit;
			smp_store_release(&its->base, base);
		}
		spin_unlock_bh(&ops_lock);
	}
	if (base == its->base)
		WRITE_ONCE(icsk->icsk_af_ops, &its->ops);
}

static struct sock *accept_v4(struct sock *sk, struct proto_accept_arg *arg)
{
	struct sock *new = by_v4.accept(sk, arg);

	if (new && ukl_task(current))
		shorten(new, &by_v4);
	return new;
}

static struct sock *accept_v6(struct sock *sk, struct proto_accept_arg *arg)
{
	struct sock *new = by_v6.accept(sk, arg);

	if (new && ukl_task(current) && ipv6_addr_v4mapped(&new->sk_v6_daddr))
		shorten(new, &by_v6);
	return new;
}

/* Signatures of segments (TCP-MD5, TCP-AO) are the ordinary way's to check. */
static bool is_signed(struct sock *sk)
{
#ifdef CONFIG_TCP_MD5SIG
	if (rcu_access_pointer(tcp_sk(sk)->md5sig_info))
		return true;
#endif
#ifdef CONFIG_TCP_AO
	if (rcu_access_pointer(tcp_sk(sk)->ao_info))
		return true;
#endif
	return false;
}

/*
 * Whether the last segment that was routed came from this device and its route
 * is still valid, as tcp_v4_early_demux() wants it: else addresses are to be checked.
 */
static bool came_by_route(struct sock *sk, struct sk_buff *skb)
{
	struct dst_entry *dst = rcu_dereference(sk->sk_rx_dst);

	return dst && READ_ONCE(sk->sk_rx_dst_ifindex) == skb->skb_iif && dst_check(dst, 0);
}

/* Who looks at packets behind the device's handler: raw sockets, and captures of one protocol. */
static bool watched(struct net_device *dev)
{
	struct net *net = dev_net(dev);

	return !hlist_empty(&raw_v4_hashinfo.ht[raw_hashfunc(net, IPPROTO_TCP)]) ||
	       !list_empty(&dev->ptype_specific);
}

/* The connection that a plain segment belongs to, held; with all of its headers in one piece. */
static struct sock *find_connection(struct sk_buff *skb)
{
	const __be32 plain = TCP_FLAG_SYN | TCP_FLAG_FIN | TCP_FLAG_RST | TCP_FLAG_URG | TCP_FLAG_ACK;
	struct net *net = dev_net(skb->dev);
	const struct tcphdr *th;
	const struct iphdr *iph;
	struct sock *sk;
	unsigned int len;

	if (skb->protocol != htons(ETH_P_IP) || skb->pkt_type != PACKET_HOST || skb_shared(skb) ||
	    skb_vlan_tag_present(skb) || !pskb_may_pull(skb, sizeof(*iph) + sizeof(*th)))
		return NULL;
	iph = (struct iphdr *)skb->data;
	th = (struct tcphdr *)(iph + 1);
	len = ntohs(iph->tot_len);
	if (*(u8 *)iph != 0x45 || iph->protocol != IPPROTO_TCP || ip_is_fragment(iph) ||
	    len > skb->len || th->doff < 5 || len < sizeof(*iph) + th->doff * 4 ||
	    (tcp_flag_word(th) & plain) != TCP_FLAG_ACK || ip_fast_csum((u8 *)iph, 5))
		return NULL;
	if (!pskb_may_pull(skb, sizeof(*iph) + th->doff * 4) || pskb_trim_rcsum(skb, len))
		return NULL;
	iph = (struct iphdr *)skb->data;
	th = (struct tcphdr *)(iph + 1);
	sk = __inet_lookup_established(net, net->ipv4.tcp_death_row.hashinfo, iph->saddr, th->source,
				       iph->daddr, ntohs(th->dest), skb->dev->ifindex, 0);
	if (!sk)
		return NULL;
	if (sk->sk_state == TCP_ESTABLISHED && is_short(sk) && came_by_route(sk, skb) &&
	    !rcu_access_pointer(sk->sk_filter) && !READ_ONCE(inet_sk(sk)->min_ttl) && !is_signed(sk))
		return sk;
	sock_gen_put(sk);
	return NULL;
}

static void refuse(struct net *net, struct sk_buff *skb)
{
	__TCP_INC_STATS(net, TCP_MIB_CSUMERRORS);
	__TCP_INC_STATS(net, TCP_MIB_INERRS);
	kfree_skb_reason(skb, SKB_DROP_REASON_TCP_CSUM);
}

/* As tcp_add_backlog() does, but nothing is merged. */
static void put_off(struct net *net, struct sock *sk, struct sk_buff *skb)
{
	u64 limit = ((u64)READ_ONCE(sk->sk_rcvbuf) << 1) + (READ_ONCE(sk->sk_sndbuf) >> 1) + 65536;

	skb_condense(skb);
	if (tcp_checksum_complete(skb)) {
		refuse(net, skb);
	} else if (sk_add_backlog(sk, skb, min_t(u64, limit, UINT_MAX))) {
		__NET_INC_STATS(net, LINUX_MIB_TCPBACKLOGDROP);
		kfree_skb_reason(skb, SKB_DROP_REASON_SOCKET_BACKLOG);
	}
}

/* As ip_rcv() to tcp_v4_rcv() do; the socket is locked. */
static void receive_short(struct sock *sk, struct sk_buff *skb)
{
	struct net *net = dev_net(skb->dev);
	struct tcp_skb_cb *cb = TCP_SKB_CB(skb);
	const struct iphdr *iph = (struct iphdr *)skb->data;
	const struct tcphdr *th = (struct tcphdr *)(iph + 1);

	IP_UPD_PO_STATS(net, IPSTATS_MIB_IN, skb->len);
	__IP_INC_STATS(net, IPSTATS_MIB_INDELIVERS);
	__TCP_INC_STATS(net, TCP_MIB_INSEGS);
	skb_reset_network_header(skb);
	skb_reset_mac_len(skb);
	__skb_pull(skb, sizeof(*iph));
	skb_reset_transport_header(skb);
	if (skb_checksum_init(skb, IPPROTO_TCP, inet_compute_pseudo)) {
		refuse(net, skb);
		return;
	}
	memset(&cb->header, 0, sizeof(cb->header));
	cb->header.h4.iif = skb->dev->ifindex;
	cb->seq = ntohl(th->seq);
	cb->end_seq = cb->seq + skb->len - th->doff * 4;
	cb->ack_seq = ntohl(th->ack_seq);
	cb->tcp_flags = tcp_flag_byte(th);
	cb->ip_dsfield = ipv4_get_dsfield(iph);
	cb->sacked = 0;
	cb->has_rxtstamp = skb->tstamp || skb_hwtstamps(skb)->hwtstamp;
	nf_reset_ct(skb);
	skb->dev = NULL;
	sk_incoming_cpu_update(sk);
	tcp_segs_in(tcp_sk(sk), skb);
	received++;
	if (!sock_owned_by_user(sk))
		tcp_v4_do_rcv(sk, skb);
	else
		put_off(net, sk, skb);
}

static rx_handler_result_t receive(struct sk_buff **pskb)
{
	rx_handler_result_t result = RX_HANDLER_PASS;
	struct sk_buff *skb = *pskb;
	struct sock *sk;

	if (filtered(dev_net(skb->dev)) || watched(skb->dev) || skb_pfmemalloc(skb))
		return result;
	sk = find_connection(skb);
	if (!sk)
		return result;
	bh_lock_sock_nested(sk);
	if (sk->sk_state == TCP_ESTABLISHED) {
		receive_short(sk, skb);
		result = RX_HANDLER_CONSUMED;
	}
	bh_unlock_sock(sk);
	sock_put(sk);
	return result;
}

/* A device that has another's handler (a port of a bridge) goes the ordinary way in. */
static int device_event(struct notifier_block *block, unsigned long event, void *data)
{
	struct net_device *dev = netdev_notifier_info_to_dev(data);

	if (dev->type != ARPHRD_ETHER)
		return NOTIFY_DONE;
	if (event == NETDEV_UP && !netdev_is_rx_handler_busy(dev) &&
	    !netdev_rx_handler_register(dev, receive, &sent)) {
		dev->wanted_features &= ~NETIF_F_GRO;
		netdev_update_features(dev);
	} else if ((event == NETDEV_DOWN || event == NETDEV_UNREGISTER) &&
		   rtnl_dereference(dev->rx_handler) == receive) {
		netdev_rx_handler_unregister(dev);
		dev->wanted_features |= NETIF_F_GRO;
		netdev_update_features(dev);
	}
	return NOTIFY_DONE;
}

static struct notifier_block devices = { .notifier_call = device_event };

/*
 * A batch would be looked at as a whole, and what is not ours be handed on after
 * all that is: a FIN after the data behind it.
 */
static void keep_order(void)
{
	WRITE_ONCE(net_hotdata.gro_normal_batch, 1);
}

/* Sockets keep what they were given: the module has no end. */
static int __init express_init(void)
{
	int err;

	buffers = alloc_percpu(struct buffers);
	if (!buffers)
		return -ENOMEM;
	keep_order();
	err = register_netdevice_notifier(&devices);
	if (err)
		return err;
	by_v4.accept = tcp_prot.accept;
	WRITE_ONCE(tcp_prot.accept, accept_v4);
#ifdef CONFIG_IPV6
	by_v6.accept = tcpv6_prot.accept;
	WRITE_ONCE(tcpv6_prot.accept, accept_v6);
#endif
	return 0;
}
module_init(express_init);

MODULE_DESCRIPTION("A short way between TCP and the driver");
MODULE_LICENSE("GPL");
