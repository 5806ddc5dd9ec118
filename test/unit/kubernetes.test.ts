// SPDX-License-Identifier: MIT
/** Manifests, charts and jobs by the schemas that their readers publish; keys that no schema has are errors. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { parse as parseHcl } from '@cdktn/hcl2json';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { build } from '../../src/build/build.js';
import { deploy } from '../../src/deploy/deploy.js';
import { platforms } from '../../src/deploy/index.js';
import { SCALERS } from '../../src/deploy/kubernetes/manifests.js';
import type { DeployParts, PlatformName } from '../../src/deploy/platform.js';
import { deployFunctions } from '../../src/functions/deploy.js';
import { discover } from '../../src/functions/discover.js';
import { readRemotes } from '../../src/functions/remote.js';
import { silentLog } from '../../src/lib/log.js';
import { projectRoot } from '../../src/lib/paths.js';
import { inPath } from '../../src/lib/which.js';
import type { Image } from '../../src/model/index.js';
import { openSink } from '../../src/oci/open.js';
import { parseReference } from '../../src/oci/reference.js';
import { packUnikernel } from '../../src/oci/unikernel.js';

vi.mock('../../src/build/build.js');

type Files = Readonly<Record<string, string>>;
interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
}

const ports: DeployParts['ports'] = [
  { address: '127.0.0.1', host: 8080, guest: 80, protocol: 'tcp' },
  { address: '127.0.0.1', host: 8081, guest: 80, protocol: 'tcp' },
  { address: '127.0.0.1', host: 5353, guest: 53, protocol: 'udp' },
];

/** Values that versions of YAML take for numbers, truth, times or keys. */
const env = { A: 'yes', B: '0o17', C: '12:30:00', D: '<<', E: '~', F: 'a: b # c', G: '{{ .Values.image }}', H: 'two\nlines\n', I: '$(A) $$ $x', J: '' };

function filesFor(name: PlatformName, settings: Readonly<Record<string, string>>, more: Readonly<Partial<DeployParts>> = {}): Files {
  const platform = platforms.get(name);
  return platform.plan({
    ...{ name: 'web', files: { oci: '/build/web.tar', qcow2: '/build/web.qcow2' }, memoryMiB: 192, cpus: 2, ports, env, replace: false },
    settings: { ...Object.fromEntries(platform.settings.map(({ name: key, byDefault = '' }) => [key, byDefault])), ...settings },
    ...more,
  }).files;
}

const IMAGE = { image: 'registry.example/team/web:1' };
const below = (files: Files, directory: string): Files => Object.fromEntries(Object.entries(files).filter(([file]) => file.startsWith(directory)));
const read = (text: string): unknown => parse(text, { version: '1.1' });

const metadata = z.strictObject({ name: z.string(), labels: z.record(z.string(), z.string()) });

/** kedacore/http-add-on, config/crd/bases/http.keda.sh_httpscaledobjects.yaml: the parts that we use. */
const httpScaledObject = z.strictObject({
  apiVersion: z.literal('http.keda.sh/v1alpha1'),
  kind: z.literal('HTTPScaledObject'),
  metadata,
  spec: z.strictObject({
    hosts: z.array(z.string().min(1)),
    scaleTargetRef: z.strictObject({ name: z.string(), kind: z.string(), apiVersion: z.string(), service: z.string(), port: z.int() }),
    replicas: z.strictObject({ min: z.int(), max: z.int() }),
    scaledownPeriod: z.int(),
    scalingMetric: z.strictObject({ concurrency: z.strictObject({ targetValue: z.int() }) }),
  }),
});

const probe = z.strictObject({
  tcpSocket: z.strictObject({ port: z.int() }).optional(),
  httpGet: z.strictObject({ path: z.string(), port: z.int() }).optional(),
  initialDelaySeconds: z.int().optional(),
  periodSeconds: z.int(),
  failureThreshold: z.int(),
});

/** kubevirt/kubevirt, api/openapi-spec/swagger.json, v1.VirtualMachine: the parts that we use. */
const virtualMachine = z.strictObject({
  apiVersion: z.literal('kubevirt.io/v1'),
  kind: z.literal('VirtualMachine'),
  metadata,
  spec: z.strictObject({
    runStrategy: z.enum(['Always', 'Halted', 'Manual', 'Once', 'RerunOnFailure']),
    template: z.strictObject({
      metadata: metadata.partial(),
      spec: z.strictObject({
        terminationGracePeriodSeconds: z.int(),
        domain: z.strictObject({
          cpu: z.strictObject({ cores: z.int() }),
          memory: z.strictObject({ guest: z.string().regex(/^\d+Mi$/) }),
          firmware: z.strictObject({
            kernelBoot: z.strictObject({ container: z.strictObject({ image: z.string(), kernelPath: z.string().startsWith('/') }), kernelArgs: z.string() }),
          }),
          devices: z.strictObject({
            rng: z.strictObject({}),
            autoattachGraphicsDevice: z.boolean(),
            logSerialConsole: z.boolean(),
            interfaces: z.array(
              z.strictObject({
                name: z.string(),
                masquerade: z.strictObject({}),
                ports: z.array(z.strictObject({ port: z.int(), protocol: z.enum(['TCP', 'UDP']) })).optional(),
              }),
            ),
          }),
        }),
        networks: z.array(z.strictObject({ name: z.string(), pod: z.strictObject({}) })),
        readinessProbe: probe.optional(),
        livenessProbe: probe.optional(),
      }),
    }),
  }),
});

/** kubernetes-sigs/kustomize, api/types/kustomization.go: the parts that we use. */
const kustomization = z.strictObject({
  apiVersion: z.literal('kustomize.config.k8s.io/v1beta1'),
  kind: z.literal('Kustomization'),
  namespace: z.string().optional(),
  resources: z.array(z.string()),
  patches: z.array(z.strictObject({ target: z.strictObject({ group: z.string(), labelSelector: z.string() }), patch: z.string() })).optional(),
});

const SHAPES: Readonly<Record<string, z.ZodType>> = { HTTPScaledObject: httpScaledObject, VirtualMachine: virtualMachine, Kustomization: kustomization };

interface Validating {
  prototype: { validate(): void };
}

/** The same value, which tells of each key whether anybody has looked at it. */
function watched(value: unknown, path: string, unread: Set<string>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const copy = Array.isArray(value) ? [] : {};
  for (const [key, child] of Object.entries(value)) {
    const name = `${path}.${key}`;
    const inner = watched(child, name, unread);
    unread.add(name);
    Object.defineProperty(copy, key, {
      enumerable: true,
      get: () => {
        unread.delete(name);
        return inner;
      },
    });
  }
  return copy;
}

/** By the published schema. Its validators pass over keys that they do not know: those are what they have not read. */
async function problemsOf(object: unknown): Promise<readonly string[]> {
  const { apiVersion, kind } = object as Manifest;
  const shape = SHAPES[kind];
  if (shape !== undefined) return (shape.safeParse(object).error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);
  const from = apiVersion.startsWith('serving.knative.dev/') ? '@kubernetes-models/knative' : 'kubernetes-models';
  const { [kind]: model } = (await import(`${from}/${apiVersion}`)) as Record<string, Validating>;
  const unread = new Set<string>();
  try {
    model?.prototype.validate.call(watched(object, kind, unread));
  } catch (error) {
    return [(error as Error).message];
  }
  return [...unread].map((path) => `unknown: ${path}`);
}

async function expectValid(files: Files): Promise<void> {
  for (const [file, text] of Object.entries(files)) expect(await problemsOf(read(text)), file).toEqual([]);
}

test('what no schema has is found', async () => {
  const good = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' }, spec: { ports: [{ port: 80 }] } };
  expect(await problemsOf(good)).toEqual([]);
  expect(await problemsOf({ ...good, spec: { ports: [{ port: 80, potr: 80 }] } })).toEqual(['unknown: Service.spec.ports.0.potr']);
  expect(await problemsOf({ ...good, spec: { ports: [{ port: 'http' }] } })).toEqual([expect.stringContaining('must be')]);
});

/** The actions that our templates have, as Helm carries them out. */
function render(template: string, values: unknown): string {
  const at = (path: string): unknown =>
    path === '.Release.Name'
      ? 'web'
      : path
          .split('.')
          .slice(2)
          .reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], values);
  return template
    .replace(/^\{\{- if (\S+) \}\}\n([\s\S]*)\{\{- end \}\}\n$/, (_, path: string, body: string) => (at(path) ? body : ''))
    .replaceAll(/\{\{-? (.+?) \}\}/g, (action, words: string) => {
      const [, block, indent] = /^toYaml (\S+) \| nindent (\d+)$/.exec(words) ?? [];
      if (block !== undefined) return `\n${' '.repeat(Number(indent))}${JSON.stringify(at(block))}`;
      const [, path = '', quote] = /^(\.[\w.]+)( \| quote)?$/.exec(words) ?? [];
      if (path === '') throw new Error(`what is ${action}?`);
      return quote === undefined ? String(at(path)) : JSON.stringify(String(at(path)));
    });
}

const scratch: string[] = [];
afterAll(() => {
  for (const directory of scratch) rmSync(directory, { recursive: true });
});

function written(files: Files): string {
  const directory = mkdtempSync(join(tmpdir(), 'ukl-kubernetes-'));
  scratch.push(directory);
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, file)), { recursive: true });
    writeFileSync(join(directory, file), text);
  }
  return directory;
}

function output(command: string, words: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(command, words, { cwd, encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  return stdout;
}

const byKind = (objects: readonly unknown[]): Readonly<Record<string, unknown>> =>
  Object.fromEntries(objects.map((object) => [(object as Manifest).kind, object]));

const CASES = SCALERS.flatMap((scaler) =>
  ['', '/health'].flatMap((health) => ['', 'web.example'].filter((host) => host !== '' || scaler !== 'keda').map((host) => ({ scaler, health, host }))),
);

describe.each(CASES)('kubernetes: $scaler, health $health, host $host', (settings) => {
  const files = filesFor('kubernetes', { ...IMAGE, ...settings });
  const { 'base/kustomization.yaml': list = '', ...objects } = below(files, 'base/');

  test('manifests have the published shape', async () => {
    await expectValid({ ...below(files, 'base/'), ...below(files, 'overlays/') });
    expect((read(list) as { resources: string[] }).resources.map((file) => `base/${file}`)).toEqual(Object.keys(objects));
  });

  test("the chart's templates with its values are the manifests", async () => {
    const values = read(files['chart/values.yaml'] ?? '');
    const rendered = Object.entries(below(files, 'chart/templates/')).map(([, text]) => render(text, values));
    const made = rendered.filter((text) => text !== '').map(read);
    for (const object of made) expect(await problemsOf(object)).toEqual([]);
    const { RuntimeClass: _, ...expected } = byKind(Object.values(objects).map(read));
    expect(byKind(made)).toEqual(expected);
  });

  test("the chart's values have their schema", () => {
    const schema = z.fromJSONSchema(JSON.parse(files['chart/values.schema.json'] ?? '') as Parameters<typeof z.fromJSONSchema>[0]);
    const values = read(files['chart/values.yaml'] ?? '') as object;
    expect(schema.parse(values)).toEqual(values);
    expect(schema.safeParse({ ...values, imgae: 'x' }).success).toBe(false);
    expect(schema.safeParse({ ...values, scaling: { min: -1, max: 1 } }).success).toBe(false);
    expect(schema.safeParse({ ...values, image: '' }).success).toBe(false);
  });

  test.skipIf(!inPath('kubectl'))('kustomize, of kubectl, builds base and overlay', () => {
    const directory = written(files);
    const built = (path: string): unknown[] =>
      parseAllDocuments(output('kubectl', ['kustomize', path], directory)).map((document) => document.toJS() as unknown);
    const base = byKind(built('base'));
    expect(Object.keys(base).sort()).toEqual(
      Object.values(objects)
        .map((text) => (read(text) as Manifest).kind)
        .sort(),
    );
    const workload = settings.scaler === 'knative' ? 'Service' : 'Deployment';
    const change = { spec: { template: { spec: { containers: [{ resources: { limits: { memory: '1024Mi' } } }] } } } };
    expect(base[workload]).not.toMatchObject(change);
    expect(byKind(built('overlays/example'))[workload]).toMatchObject(change);
  });

  test.skipIf(!inPath('helm'))('helm finds nothing wrong, and renders the manifests', () => {
    const directory = written(files);
    output('helm', ['lint', '--strict', 'chart'], directory);
    const made = parseAllDocuments(output('helm', ['template', 'web', 'chart'], directory), { version: '1.1' }).map((document) => document.toJS() as unknown);
    const { RuntimeClass: _, ...expected } = byKind(Object.values(objects).map(read));
    expect(byKind(made)).toEqual(expected);
    expect(spawnSync('helm', ['template', 'web', 'chart', '--set', 'imgae=x'], { cwd: directory }).status).not.toBe(0);
  });
});

interface PodSpec {
  readonly containers: readonly {
    readonly env: readonly { readonly name: string; readonly value: string }[];
    readonly image: string;
    readonly resources: object;
  }[];
}
const podOf = (files: Files): PodSpec => (read(files['base/deployment.yaml'] ?? '') as { spec: { template: { spec: PodSpec } } }).spec.template.spec;

/** kubernetes.io, "Define Dependent Environment Variables". */
const expanded = (value: string, known: Readonly<Record<string, string>>): string =>
  value.replaceAll(/\$\$|\$\((\w+)\)/g, (all, name?: string) => (name === undefined ? '$' : (known[name] ?? all)));

test('the environment arrives as it is', () => {
  const [container] = podOf(filesFor('kubernetes', IMAGE)).containers;
  expect(Object.fromEntries((container?.env ?? []).map(({ name, value }) => [name, expanded(value, env)]))).toEqual(env);
});

test('memory, processors and digest are those of the image', () => {
  const [container] = podOf(filesFor('kubernetes', IMAGE, { digest: `sha256:${'0'.repeat(64)}` })).containers;
  expect(container).toMatchObject({ image: `${IMAGE.image}@sha256:${'0'.repeat(64)}`, resources: { limits: { cpu: '2', memory: '192Mi' } } });
});

test('a program without ports has no service, no probes and no way in', async () => {
  const files = filesFor('kubernetes', IMAGE, { ports: [] });
  await expectValid(below(files, 'base/'));
  expect(Object.keys(files)).not.toContain('base/service.yaml');
  expect(files['base/deployment.yaml']).not.toContain('Probe');
  expect(read(files['base/network-policy.yaml'] ?? '')).toMatchObject({ spec: { ingress: [] } });
});

test.each(['', '/health'])('kubevirt, health %j: manifests have the published shape', async (health) => {
  const files = filesFor('kubevirt', { ...IMAGE, health });
  await expectValid(files);
  await expectValid(filesFor('kubevirt', { ...IMAGE, health }, { ports: [] }));
});

const one = <T extends z.ZodType>(shape: T): z.ZodArray<T> => z.array(shape).length(1);

/** developer.hashicorp.com/nomad/docs/job-specification; of `config`, hashicorp/nomad, drivers/qemu/driver.go, taskConfigSpec. */
const job = z.strictObject({
  variable: z.strictObject({ checksum: one(z.strictObject({ type: z.literal('${string}'), description: z.string() })) }),
  job: z.strictObject({
    web: one(
      z.strictObject({
        type: z.literal('service'),
        datacenters: z.array(z.string()),
        group: z.strictObject({
          web: one(
            z.strictObject({
              count: z.int(),
              network: one(z.strictObject({ port: z.record(z.string().regex(/^\w+$/), one(z.strictObject({}))) })).optional(),
              service: one(
                z.strictObject({
                  ...{ name: z.string(), port: z.string(), provider: z.enum(['nomad', 'consul']) },
                  check: one(
                    z.strictObject({ type: z.enum(['tcp', 'http']), path: z.string().optional(), interval: z.string(), timeout: z.string() }),
                  ).optional(),
                }),
              ).optional(),
              task: z.strictObject({
                web: one(
                  z.strictObject({
                    driver: z.literal('qemu'),
                    artifact: one(
                      z.strictObject({
                        source: z.string(),
                        destination: z.string(),
                        mode: z.enum(['file', 'dir', 'any']),
                        options: one(z.strictObject({ checksum: z.string() })),
                      }),
                    ),
                    config: one(
                      z.strictObject({
                        image_path: z.string(),
                        accelerator: z.enum(['kvm', 'tcg']),
                        drive_interface: z.enum(['ide', 'virtio']),
                        args: z.array(z.string()),
                      }),
                    ),
                    resources: one(z.strictObject({ cpu: z.int(), memory: z.int().min(128) })),
                  }),
                ),
              }),
            }),
          ),
        }),
      }),
    ),
  }),
});

test.each([
  ['tcp', {}, {}],
  ['http', { health: '/health' }, {}],
  ['no port', {}, { ports: [] as DeployParts['ports'] }],
  ['little memory', {}, { memoryMiB: 32 }],
] as [string, Record<string, string>, Partial<DeployParts>][])('nomad, %s: the job is HCL of the published shape', async (_, settings, more) => {
  const { 'job.nomad.hcl': text = '' } = filesFor('nomad', { directory: '/srv', url: 'https://images.example/${x}', ...settings }, more);
  const parsed = job.parse(await parseHcl('job.nomad.hcl', text));
  const [group] = parsed.job.web[0]?.group.web ?? [];
  const [task] = group?.task.web ?? [];
  expect(task?.artifact[0]?.source).toBe('https://images.example/$${x}/web.qcow2');
  if ('ports' in more) expect(task?.config[0]?.args.join(' ')).not.toContain('hostfwd');
  else expect(task?.config[0]?.args).toContain('user,id=user.0,hostfwd=tcp::${NOMAD_HOST_PORT_tcp_80}-:80,hostfwd=udp::${NOMAD_HOST_PORT_udp_53}-:53');
});

test.each([
  ['hello.function.ts', 8080],
  ['native', 80],
])('a function, %s, is a service of its own', async (target, port) => {
  const { files, name } = await deploy(join(projectRoot, 'examples/functions', target), {
    ...{ to: 'kubernetes', settings: { ...IMAGE, scaler: 'knative' }, dryRun: true },
  });
  expect(name).toMatch(/^(hello|native)$/);
  expect(read(files['base/service.yaml'] ?? '')).toMatchObject({ spec: { template: { spec: { containers: [{ ports: [{ containerPort: port }] }] } } } });
});

test.each([
  ['hpa', '', 'http://shop-hello.shop.svc.cluster.local:8080', undefined],
  ['keda', 'shop.example', 'http://keda-add-ons-http-interceptor-proxy.keda:8080', 'shop-hello.shop.example'],
  ['knative', 'shop.example', 'http://shop-hello.shop.svc.cluster.local', 'shop-hello.shop.svc.cluster.local'],
])('functions with %s, host %j: each is a service, and the gateway knows where', async (scaler, host, url, as) => {
  const warnings: string[] = [];
  const log = { ...silentLog, warn: (line: string) => void warnings.push(line) };
  const directory = join(projectRoot, 'examples/functions');
  const sources = (await discover([directory])).map((source) => ({
    ...source,
    options: { ...source.options, concurrency: 8, min: 1, max: 3, timeout: 1500, ...(source.name === 'greet' ? { secrets: ['TOKEN'] } : {}) },
  }));
  const deployed = await deployFunctions(directory, sources, {
    ...{ to: 'kubernetes', name: 'shop', settings: { ...IMAGE, scaler, host, namespace: 'shop' }, dryRun: true, log },
  });
  expect(deployed.map(({ name }) => name)).toEqual(['shop-greet', 'shop-hello', 'shop-native', 'shop-gateway']);
  expect(new Set(deployed.map((one) => one.directory)).size).toBe(4);
  for (const { files } of deployed) await expectValid(below(files, 'base/'));
  const [, hello, , gateway] = deployed.map(({ files }) => byKind(Object.values(below(files, 'base/')).map(read)));
  expect(deployed.map(({ script }) => /docker:\/\/(\S+)/.exec(script)?.[1])).toEqual(
    ['greet', 'hello', 'native', 'gateway'].map((name) => `registry.example/team/web-${name}:1`),
  );
  if (scaler === 'keda')
    expect(hello?.HTTPScaledObject).toMatchObject({ spec: { hosts: [as], scalingMetric: { concurrency: { targetValue: 8 } }, replicas: { min: 1, max: 3 } } });
  if (scaler === 'knative') expect(hello?.Service).toMatchObject({ spec: { template: { spec: { containerConcurrency: 8 } } } });
  // The times of cron are its own: there is one.
  expect(gateway?.HorizontalPodAutoscaler).toMatchObject({ spec: { minReplicas: 1, maxReplicas: 1 } });
  expect(gateway?.Ingress === undefined).toBe(host === '');
  const [container] = podOf(deployed[3]?.files ?? {}).containers;
  const served = readRemotes(container?.env.find(({ name }) => name === 'UKL_FUNCTIONS')?.value ?? '', 'the manifest');
  expect(served.map(({ name }) => name)).toEqual(['greet', 'hello', 'native']);
  expect(served[1]?.options).toMatchObject({ concurrency: 8, max: 3, timeout: 1500, wait: 10_000 });
  const server = await served[1]?.backend.start(false, new AbortController().signal);
  expect([`http://${server?.address.host}:${server?.address.port}`.replace(/:80$/, ''), server?.host]).toEqual([url, as]);
  expect(warnings).toEqual(['shop-greet gets no TOKEN: an overlay of yours has to say where they are']);
});

test.each([
  [{ image: 'web:1' }, "takes no image 'web:1'"],
  [{ image: `registry.example/web@sha256:${'0'.repeat(64)}` }, 'takes no image'],
  [{ ...IMAGE, scaler: 'vpa' }, "takes no scaler 'vpa'"],
  [{ ...IMAGE, namespace: 'My_Shop' }, "takes no namespace 'My_Shop'"],
  [{ ...IMAGE, host: 'a b' }, "takes no host 'a b'"],
  [{ ...IMAGE, max: '-1' }, "takes no max '-1'"],
  [{ ...IMAGE, health: 'x' }, "takes no health 'x'"],
  [{ ...IMAGE, min: '11' }, 'at least 11 instances are more than 10'],
  [{ ...IMAGE, min: '0' }, 'keeps an instance at least'],
  [{ ...IMAGE, scaler: 'keda' }, 'by the host of a request'],
])('%j is refused before any work', async (settings, message) => {
  await expect(deploy(join(projectRoot, 'examples/http'), { to: 'kubernetes', settings, dryRun: true })).rejects.toMatchObject({
    code: 'UKL_USAGE',
    message: expect.stringContaining(message) as string,
    hint: expect.stringContaining('--set') as string,
  });
});

test('what scales by requests needs a port', () => {
  for (const scaler of ['keda', 'knative']) {
    expect(() => filesFor('kubernetes', { ...IMAGE, scaler, host: 'web.example' }, { ports: [] })).toThrow('has no TCP port');
  }
});

test('a deployment: the image is pushed, and its digest applied; no template of an earlier one is left', async () => {
  const tool = '#!/bin/sh\necho "$(basename "$0") $*" >> ../../../calls\n';
  const place = written({
    'ukl.config.json': '{"name": "hello", "program": "hello"}',
    kernel: 'a kernel',
    'bin/skopeo': tool,
    'bin/kubectl': tool.replace('echo', '[ "$1" = get ] || echo'),
  });
  output('chmod', ['+x', 'bin/skopeo', 'bin/kubectl'], place);
  const directory = join(place, '.ukl/deploy/kubernetes');
  const run = { command: ['/hello'], args: [], env: {}, cpus: 1, memoryMiB: 40, ports: [], exposed: [] };
  const manifest = { name: 'hello', kernel: { version: '6.12' }, run } as unknown as Image['manifest'];
  let digest = '';
  vi.mocked(build).mockImplementation(async (_target, { out = '' } = {}) => {
    const sink = openSink(parseReference(`oci-archive:${out}:latest`), place, undefined);
    digest = await packUnikernel({ file: join(place, 'kernel'), manifest, sink, work: place });
    return { path: out, manifest, host: undefined };
  });
  mkdirSync(join(directory, 'chart/templates'), { recursive: true });
  writeFileSync(join(directory, 'chart/templates/ingress.yaml'), 'kind: Ingress\n');
  vi.stubEnv('PATH', `${join(place, 'bin')}${delimiter}${process.env.PATH ?? ''}`);
  try {
    await deploy(place, { to: 'kubernetes', settings: IMAGE });
  } finally {
    vi.unstubAllEnvs();
  }
  expect(build).toHaveBeenCalledWith(place, expect.objectContaining({ container: 'oci', profile: 'server' }));
  expect(readFileSync(join(directory, 'base/deployment.yaml'), 'utf8')).toContain(`image: ${IMAGE.image}@${digest}\n`);
  expect(existsSync(join(directory, 'chart/templates/ingress.yaml'))).toBe(false);
  expect(readFileSync(join(place, 'calls'), 'utf8').split('\n')).toEqual([
    `skopeo copy --preserve-digests oci-archive:${join(directory, 'hello.tar')} docker://${IMAGE.image}`,
    'kubectl apply --kustomize base',
    'kubectl rollout status deployment/hello --namespace default --timeout 5m',
    '',
  ]);
});
