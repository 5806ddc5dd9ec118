// SPDX-License-Identifier: MIT
/** Makes ready what the tests need, with its progress shown: packages, both kernels. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { containers } from '../src/containers/index.js';
import { allRequirements } from '../src/doctor/doctor.js';
import { getBacklog, getInit, getLoader } from '../src/guest/programs.js';
import { ensurePackages } from '../src/host/requirements.js';
import { getKernel } from '../src/kernels/kernel.js';
import { kernelSpec } from '../src/kernels/lines.js';
import { asUklError } from '../src/lib/errors.js';
import { createLog } from '../src/lib/log.js';
import { projectRoot } from '../src/lib/paths.js';
import { getCompiler } from '../src/libc/compiler.js';
import { build } from '../src/sdk/index.js';

/** Third-party programs, and the clients that try them. */
const testPackages = [
  { package: 'memcached', why: 'a server to run', file: '/usr/bin/memcached' },
  { package: 'libmemcached-tools', why: 'memccapable and memcslap', file: '/usr/bin/memccapable' },
  { package: 'redis-server', why: 'a server to run', file: '/usr/bin/redis-server' },
  { package: 'redis-tools', why: 'redis-cli and redis-benchmark', file: '/usr/bin/redis-benchmark' },
  { package: 'nginx-light', why: 'a server to run', file: '/usr/sbin/nginx' },
  { package: 'wrk', why: 'load for nginx', file: '/usr/bin/wrk' },
  { package: 'curl', why: 'load for Node.js', file: '/usr/bin/curl' },
  { package: 'iperf3', why: 'load for a network', file: '/usr/bin/iperf3' },
  { package: 'iproute2', why: 'a network of its own for a TAP device', file: '/usr/sbin/ip' },
  { package: 'dnsmasq-base', why: 'gives guests addresses: DHCP, DHCPv6, router advertisements', file: '/usr/sbin/dnsmasq' },
  { package: 'openssl', why: 'a certificate to try TLS with', file: '/usr/bin/openssl' },
  { package: 'g++', why: 'C++ programs', file: '/usr/bin/g++' },
  { package: 'gdb', why: 'debugs a ring 0 program from ring 3', file: '/usr/bin/gdb' },
  { package: 'strace', why: 'traces a ring 0 program from ring 3', file: '/usr/bin/strace' },
  { package: 'skopeo', why: 'reads and writes container images', file: '/usr/bin/skopeo' },
  { package: 'umoci', why: 'unpacks them', file: '/usr/bin/umoci' },
  { package: 'docker-registry', why: 'keeps container images', file: '/usr/bin/docker-registry' },
  { package: 'zstd', why: 'compresses layers', file: '/usr/bin/zstd' },
  { package: 'cpio', why: 'checks the initramfs', file: '/usr/bin/cpio' },
  { package: 'chromium', why: 'looks at the reports', file: '/usr/bin/chromium' },
  { package: 'procps', why: 'looks for processes left behind', file: '/usr/bin/ps' },
];

const log = createLog();
try {
  await ensurePackages(
    log,
    [...allRequirements(), ...containers.list().flatMap(({ requirements }) => requirements), ...testPackages].filter(
      ({ file }) => file === undefined || !existsSync(file),
    ),
  );
  await getKernel(kernelSpec('ukl'), { log });
  await getKernel(kernelSpec('stock'), { log });
  await getKernel(kernelSpec('ukl', 'hello'), { log });
  await getInit({ log });
  for (const container of containers.list()) if (container.kind === 'kernel') await getLoader(container.loader, { log });
  await getBacklog({ log });
  await getCompiler('complete', { log });
  // Programs that the tests link from Debian's sources.
  for (const example of ['memcached', 'redis', 'nginx', 'sqlite', 'postgres', 'typescript/better-sqlite3.ts', 'api/src/server.ts', 'perf-trace', 'dns'])
    await build(join(projectRoot, 'examples', example), { log });
} catch (error) {
  const failure = asUklError(error);
  console.error(`✖ ${failure.message}\n${failure.details ?? ''}\nnext: ${failure.hint ?? ''}\nlog: ${failure.log ?? ''}`);
  process.exitCode = 1;
}
