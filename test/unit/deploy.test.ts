// SPDX-License-Identifier: MIT
/** What is run on each platform: golden files, and scripts that work with tools that stand in for the vendors'. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { deploy } from '../../src/deploy/deploy.js';
import { platforms } from '../../src/deploy/index.js';
import type { DeployParts, PlatformName } from '../../src/deploy/platform.js';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';

const SETTINGS: Readonly<Record<PlatformName, Readonly<Record<string, string>>>> = {
  aws: { bucket: 'images' },
  gcp: { bucket: 'images', project: "it's ours" },
  azure: { account: 'store', group: 'web' },
  proxmox: { vmid: '104' },
  libvirt: {},
  pxe: { directory: '/srv/http', url: 'http://10.0.0.1' },
};

function partsFor(name: PlatformName): DeployParts {
  const platform = platforms.get(name);
  return {
    name: 'web',
    files: Object.fromEntries(platform.containers.map((container) => [container, `/build/web of ${container}`])),
    memoryMiB: 512,
    cpus: 2,
    ports: [
      { address: '127.0.0.1', host: 8080, guest: 80, protocol: 'tcp' },
      { address: '127.0.0.1', host: 5353, guest: 53, protocol: 'udp' },
    ],
    settings: { ...Object.fromEntries(platform.settings.map(({ name: key, byDefault = '' }) => [key, byDefault])), ...SETTINGS[name] },
  };
}

let work: string;
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'ukl-deploy-'));
  // Says what it was called with, and answers with a word.
  const tool = `#!/bin/sh\nprintf '%s\\n' "$(basename "$0") $*" >> "${work}/calls"\necho "id-$(basename "$0")"\n`;
  for (const name of ['aws', 'gcloud', 'gsutil', 'az', 'qm', 'virsh', 'install', 'date']) {
    writeFileSync(join(work, name), name === 'date' ? '#!/bin/sh\necho 1\n' : tool);
    chmodSync(join(work, name), 0o755);
  }
});
afterAll(() => rmSync(work, { recursive: true }));

describe.each(platforms.names)('%s', (name) => {
  test('commands and files', async () => {
    const { script, files } = platforms.get(name).plan(partsFor(name));
    const text = [...Object.entries(files).map(([file, content]) => `--- ${file}\n${content}`), '--- script\n', script].join('');
    await expect(text).toMatchFileSnapshot(join(projectRoot, `test/golden/deploy-${name}.txt`));
  });

  test('the script runs, and its words arrive as they are', async () => {
    rmSync(join(work, 'calls'), { force: true });
    const { script } = platforms.get(name).plan(partsFor(name));
    await exec('sh', ['-eu', '-c', script], { env: { PATH: `${work}:${process.env.PATH ?? ''}` } });
    const calls = readFileSync(join(work, 'calls'), 'utf8');
    expect(calls).toContain(`/build/web of ${platforms.get(name).containers[0]}`);
    if (name === 'gcp') expect(calls).toContain("--project it's ours");
    if (name === 'aws') expect(calls).toContain('--image-id id-aws');
  });
});

test.each([
  [{ to: 'aws' as const }, /has to be told: bucket/],
  [{ to: 'aws' as const, settings: { bukcet: 'x' } }, /has no setting 'bukcet'/],
  [{ to: 'aws' as const, settings: { bucket: 'x' }, name: 'Web_1' }, /no platform takes 'Web_1'/],
  [{ to: 'aws' as const, settings: { bucket: 'x' } }, /deployed to by aws, which is not here/],
])('%j is refused before any work', async (options, message) => {
  vi.stubEnv('PATH', '/nowhere');
  await expect(deploy(join(projectRoot, 'examples/http'), options)).rejects.toThrow(message);
  vi.unstubAllEnvs();
});
