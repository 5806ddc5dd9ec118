// SPDX-License-Identifier: MIT
/** What is run on each platform: golden files, and scripts that work with tools that stand in for the vendors'. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { deploy } from '../../src/deploy/deploy.js';
import { platforms } from '../../src/deploy/index.js';
import { type DeployParts, guarded, type PlatformName } from '../../src/deploy/platform.js';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';

const SETTINGS: Readonly<Record<PlatformName, Readonly<Record<string, string>>>> = {
  aws: { bucket: 'images' },
  gcp: { bucket: 'images', project: "it's ours" },
  azure: { account: 'store', group: 'web' },
  proxmox: { vmid: '104' },
  libvirt: {},
  pxe: { directory: '/srv/http', url: 'http://10.0.0.1' },
  kubernetes: { image: 'registry.example/team/web:1', namespace: 'shop', host: 'web.example', health: '/health' },
  kubevirt: { image: 'localhost:5000/web:1' },
  nomad: { directory: '/srv/http', url: 'https://images.example/ukl' },
};

/** Those that change what is there, rather than remove it. */
const UPDATING: readonly PlatformName[] = ['kubernetes', 'nomad'];

function partsFor(name: PlatformName, replace = false): DeployParts {
  const platform = platforms.get(name);
  return {
    name: 'web',
    files: Object.fromEntries(platform.containers.map((container) => [container, `/build/web of ${container}`])),
    memoryMiB: 512,
    cpus: 2,
    replace,
    env: { GREETING: 'yes', PRICE: 'a $(b) $$' },
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
  // Says what it was called with, and answers with a word; asked what there is, with what is in a file.
  const tool = `#!/bin/sh
printf '%s\\n' "$(basename "$0") $*" >> "${work}/calls"
case "$*" in
*--filter*|*\\?name==*|list|*"list --all"*|get\\ *|"job status") cat "${work}/there" ;;
*) echo "id-$(basename "$0")" ;;
esac
`;
  for (const name of ['aws', 'gcloud', 'gsutil', 'az', 'qm', 'virsh', 'install', 'date', 'skopeo', 'kubectl', 'nomad', 'sha256sum']) {
    writeFileSync(join(work, name), name === 'date' ? '#!/bin/sh\necho 1\n' : tool);
    chmodSync(join(work, name), 0o755);
  }
});
afterAll(() => rmSync(work, { recursive: true }));

/** What `qm list` has, and others have by their names. */
const THERE: Readonly<Partial<Record<PlatformName, string>>> = {
  proxmox: '      VMID NAME STATUS\n       104 web  running\n',
  aws: 'i-1\ti-2\n',
  pxe: '',
  nomad: 'ID Type Priority Status\nweb service 50 running\n',
};

describe.each(platforms.names)('%s', (name) => {
  const scriptFor = (replace: boolean): string => {
    const parts = partsFor(name, replace);
    return guarded(parts, platforms.get(name).plan(parts));
  };
  const runScript = async (replace: boolean, there: string): Promise<string> => {
    rmSync(join(work, 'calls'), { force: true });
    writeFileSync(join(work, 'there'), there);
    await exec('sh', ['-eu', '-c', scriptFor(replace)], { env: { PATH: `${work}:${process.env.PATH ?? ''}` } });
    return readFileSync(join(work, 'calls'), 'utf8');
  };

  test('commands and files', async () => {
    const { files } = platforms.get(name).plan(partsFor(name));
    const text = [
      ...Object.entries(files).map(([file, content]) => `--- ${file}\n${content}`),
      ...['--- script\n', scriptFor(false), '--- script with --replace\n', scriptFor(true)],
    ].join('');
    await expect(text).toMatchFileSnapshot(join(projectRoot, `test/golden/deploy-${name}.txt`));
  });

  test('the script runs, and its words arrive as they are', async () => {
    const calls = await runScript(false, '');
    expect(calls).toContain(`/build/web of ${platforms.get(name).containers[0]}`);
    if (name === 'gcp') expect(calls).toContain("--project it's ours");
    if (name === 'nomad') expect(calls).toContain('job run -var checksum=sha256:id-sha256sum job.nomad.hcl');
    if (name === 'kubevirt') expect(calls).toContain('--dest-tls-verify=false oci-archive:/build/web of oci docker://localhost:5000/web:1');
    if (name === 'aws') expect(calls).toContain('--image-id id-aws');
  });

  test.skipIf(name === 'pxe')('what is there stays, or makes room', async () => {
    const there = THERE[name] ?? 'web\n';
    await expect(runScript(false, there)).rejects.toThrow();
    expect(readFileSync(join(work, 'calls'), 'utf8').trim().split('\n')).toHaveLength(1);
    const removes =
      /terminate-instances --instance-ids i-1 i-2|instances delete web|vm delete|disk unlink 104|destroy web|delete virtualmachineinstances.kubevirt.io web/;
    const made = await runScript(true, there);
    if (UPDATING.includes(name)) return;
    expect(made).toMatch(removes);
    expect(await runScript(true, '')).not.toMatch(removes);
  });
});

test('another machine of that number is not removed', async () => {
  const parts = partsFor('proxmox', true);
  writeFileSync(join(work, 'there'), 'VMID NAME STATUS\n104 db running\n');
  const script = guarded(parts, platforms.get('proxmox').plan(parts));
  await expect(exec('sh', ['-eu', '-c', script], { env: { PATH: `${work}:${process.env.PATH ?? ''}` } })).rejects.toMatchObject({
    details: expect.stringContaining('104 is another machine, which stays: db') as string,
  });
});

test('what is there is seen before anything is built', async () => {
  writeFileSync(join(work, 'there'), 'web\n');
  vi.stubEnv('PATH', `${work}:${process.env.PATH ?? ''}`);
  try {
    await expect(deploy(join(projectRoot, 'examples/http'), { to: 'libvirt', name: 'web' })).rejects.toMatchObject({
      code: 'UKL_USAGE',
      message: 'libvirt, on its host has a machine there already: web',
      hint: expect.stringContaining('--replace') as string,
    });
  } finally {
    vi.unstubAllEnvs();
  }
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
