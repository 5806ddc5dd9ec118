// SPDX-License-Identifier: MIT
/** Functions on a cluster: each is a service of its own, and so is the gateway before them. */
import { basename, join, resolve } from 'node:path';
import { type Deployed, type DeployOptions, deploy, settingsOf } from '../deploy/deploy.js';
import { platforms } from '../deploy/index.js';
import { UklError } from '../lib/errors.js';
import { projectRoot } from '../lib/paths.js';
import type { UklConfig } from '../options/config.js';
import type { FunctionSource } from './discover.js';
import { GATEWAY_PORT, GATEWAY_STATUS_PORT } from './gateway.js';
import { encodeOptions, type Remotes } from './remote.js';

/** Where KEDA's HTTP add-on takes requests: its chart's names. */
const KEDA_PROXY = 'http://keda-add-ons-http-interceptor-proxy.keda:8080';

type Settings = Readonly<Record<string, string>>;

/** Of each, an image beside the one that was named. */
const imageOf = (image: string, name: string): string => image.replace(/(:[^:/]*)?$/, `-${name}$1`);

/** How the gateway gets to a function, by what scales it. */
function remoteOf({ options, port }: FunctionSource, name: string, { scaler, namespace = '', host = '', max }: Settings): Remotes[string] {
  const encoded = { ...encodeOptions(options), max: options.max ?? Number(max) };
  const inside = `${name}.${namespace}.svc.cluster.local`;
  switch (scaler) {
    case 'keda':
      return { ...encoded, url: KEDA_PROXY, as: `${name}.${host}` };
    case 'knative':
      return { ...encoded, url: `http://${inside}`, as: inside };
    default:
      return { ...encoded, url: `http://${inside}:${port}` };
  }
}

/** What a function's own deployment is told. */
function settingsFor({ options }: FunctionSource, name: string, short: string, { scaler, host, image = '', ...settings }: Settings): Settings {
  return {
    ...settings,
    ...{ scaler: scaler ?? '', image: imageOf(image, short), host: scaler === 'keda' ? `${name}.${host}` : '' },
    concurrency: String(options.concurrency),
    ...(options.min > 0 ? { min: String(options.min) } : {}),
    ...(options.max === undefined ? {} : { max: String(options.max) }),
  };
}

/** A gateway to deploy: it takes requests on the first port, and shows its status on the second. */
export const gatewayOf = (name: string, remotes: Remotes): UklConfig => ({
  name,
  entry: join(projectRoot, 'src/functions/program.ts'),
  check: false,
  memory: '256M',
  ports: [`0:${GATEWAY_PORT}`, `0:${GATEWAY_STATUS_PORT}`],
  env: { UKL_FUNCTIONS: JSON.stringify(remotes) },
});

/**
 * Deploys the functions of a directory, and a gateway before them.
 *
 * @throws UKL_USAGE for a platform that has no services, and what `deploy` throws
 */
export async function deployFunctions(directory: string, sources: readonly FunctionSource[], options: DeployOptions): Promise<readonly Deployed[]> {
  if (options.to !== 'kubernetes')
    throw new UklError('UKL_USAGE', `${directory} has several programs, which are deployed to Kubernetes alone`, { hint: 'one of them: ukl deploy FILE' });
  const project = (options.name ?? basename(resolve(directory))).toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  const settings = settingsOf(platforms.get('kubernetes'), options.settings ?? {});
  if (settings.scaler === 'keda' && settings.host === '')
    throw new UklError('UKL_USAGE', "KEDA's proxy tells services by the host of a request", { hint: '--set host=shop.example' });
  const place = (name: string): DeployOptions => ({ ...options, name, directory: resolve(directory, '.ukl/deploy/kubernetes', name) });
  const done: Deployed[] = [];
  const remotes: Record<string, Remotes[string]> = {};
  for (const source of sources) {
    const short = source.name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
    if (short === 'gateway') throw new UklError('UKL_USAGE', 'the gateway is called gateway', { hint: 'another name for the function' });
    const name = `${project}-${short}`;
    const { env, secrets } = source.options;
    if (env.length + secrets.length > 0) options.log?.warn(`${name} gets no ${[...env, ...secrets].join(', ')}: an overlay of yours has to say where they are`);
    remotes[source.name] = remoteOf(source, name, settings);
    const memory = source.options.memory === undefined ? {} : { memory: source.options.memory };
    done.push(await deploy(source.target, { ...place(name), ...memory, settings: settingsFor(source, name, short, settings) }));
  }
  const name = `${project}-gateway`;
  const { image = '', ...rest } = settings;
  // One: it has the queues, and the times of cron.
  const own = { ...rest, image: imageOf(image, 'gateway'), scaler: 'hpa', min: '1', max: '1', health: '' };
  done.push(await deploy(gatewayOf(name, remotes), { ...place(name), settings: own }));
  return done;
}
