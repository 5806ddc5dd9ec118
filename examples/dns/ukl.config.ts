// SPDX-License-Identifier: MIT
import { defineConfig } from 'ukl';

/** dnsmasq from Debian's source, unmodified, serves the zone in zone.conf, on a kernel with what it needs. */
export default defineConfig({
  name: 'dns',
  debianSource: 'dnsmasq',
  build: [
    'make -j"$JOBS" CFLAGS=-Os LDFLAGS="-static -Wl,--gc-sections" COPTS="-DNO_DHCP -DNO_DHCP6 -DNO_TFTP -DNO_SCRIPT -DNO_DUMPFILE -DNO_LOOP -DNO_IPSET -DNO_INOTIFY -DNO_ID"',
  ],
  program: 'src/dnsmasq',
  args: ['--keep-in-foreground', '--user=root', '--pid-file', '--conf-file=/etc/zone.conf'],
  files: ['zone.conf:/etc/zone.conf'],
  ports: ['0:53/udp'],
  profile: 'fit',
});
