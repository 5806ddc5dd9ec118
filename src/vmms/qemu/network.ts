// SPDX-License-Identifier: MIT
import type { GuestNetwork } from '../../guest/spec.js';

/** The addresses of QEMU's user network: its defaults (-netdev user: net, host, dns, dhcpstart). */
export const USER_NETWORK: GuestNetwork = { kind: 'static', address: '10.0.2.15/24', gateway: '10.0.2.2', dns: ['10.0.2.3'] };
