// SPDX-License-Identifier: MIT
/** A unikernel as Kubernetes' objects. The same function writes the manifests, with values, and the chart, with places for them. */
import type { Scalar } from 'yaml';
import { UklError } from '../../lib/errors.js';
import type { DeployParts, OpenPort } from '../platform.js';
import { asText, quoted, type Slot } from './yaml.js';

export const SCALERS = ['hpa', 'keda', 'knative'] as const;
export type Scaler = (typeof SCALERS)[number];

/** KEDA's own default (kedacore/http-add-on, docs/ref). */
const USUAL_CONCURRENCY = 100;

/** The label of nodes that have the runtime. */
const NODE_LABEL = 'ukl-runtime';

/** Of a processor, for VMM and supervisor: an estimate. */
const OVERHEAD_CPU = '50m';

/** What does not change once an image is built. */
export interface Shape {
  readonly app: string;
  readonly ports: readonly OpenPort[];
  /** A path that answers by HTTP; without it, a port that can be connected to is a sign of life. */
  readonly health: string;
  readonly scaler: Scaler;
  /** Requests that an instance has at once, for who scales by them. */
  readonly concurrency: number | undefined;
  /** What VMM and supervisor take besides the guest's memory. */
  readonly overheadMiB: number;
}

export interface EnvironmentVariable {
  readonly name: string | Scalar;
  readonly value: string | Scalar;
}

/** What a user of the manifests may change. */
export interface Values {
  readonly name: Slot<string>;
  readonly image: Slot<string>;
  readonly runtimeClass: Slot<string>;
  readonly resources: Slot<object>;
  readonly env: Slot<readonly EnvironmentVariable[]>;
  readonly gracePeriodSeconds: Slot<number>;
  readonly minReplicas: Slot<number>;
  readonly maxReplicas: Slot<number>;
  /** In percent of what is asked for: only with `hpa`. */
  readonly cpuUtilization: Slot<number>;
  /** Whose requests it serves: of an Ingress, if there is one, and of KEDA's proxy. */
  readonly host: Slot<string>;
}

export interface Manifest {
  /** Its file, without what all have in common. */
  readonly name: string;
  readonly content: object;
  /** Belongs to the cluster, and to all that use it. */
  readonly shared?: boolean;
  /** Only if there is a host. */
  readonly needsHost?: boolean;
}

const portName = ({ protocol, guest }: OpenPort): string => `${protocol}-${guest}`;
const tcpPort = (ports: readonly OpenPort[]): OpenPort | undefined => ports.find(({ protocol }) => protocol === 'tcp');

/** Guaranteed: a guest's memory is its own from the start, and so are its processors. */
export function resourcesOf({ cpus, memoryMiB }: Pick<DeployParts, 'cpus' | 'memoryMiB'>): object {
  const all = { cpu: String(cpus), memory: `${memoryMiB}Mi` };
  return { requests: all, limits: all };
}

/** Kubernetes puts variables in place of $(NAME), and $ in place of $$. */
export function environmentOf(env: DeployParts['env']): readonly EnvironmentVariable[] {
  return Object.entries(env).map(([name, value]) => ({
    name: quoted(name),
    value: quoted(/\$[$(]/.test(value) ? value.replaceAll('$', '$$$$') : value),
  }));
}

interface Probe {
  readonly [check: string]: object | number;
}

/** What shows that the program answers, by the first port that it can be asked at. */
export function checkOf({ ports, health }: Pick<Shape, 'ports' | 'health'>): Probe | undefined {
  const port = tcpPort(ports)?.guest;
  if (port === undefined) return undefined;
  return health === '' ? { tcpSocket: { port } } : { httpGet: { path: health, port } };
}

/** A start is waited for by a minute, and asked for often: it takes less than a second. */
function probesOf(shape: Shape): Readonly<Record<string, Probe>> {
  const check = checkOf(shape);
  if (check === undefined) return {};
  return {
    startupProbe: { ...check, periodSeconds: 1, failureThreshold: 60 },
    readinessProbe: { ...check, periodSeconds: 5, failureThreshold: 2 },
    livenessProbe: { ...check, periodSeconds: 10, failureThreshold: 3 },
  };
}

export function serviceOf(name: Slot<string>, labels: object, ports: readonly OpenPort[]): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, labels },
    spec: {
      selector: labels,
      ports: ports.map((port) => ({ name: portName(port), port: port.guest, targetPort: port.guest, protocol: port.protocol.toUpperCase() })),
    },
  };
}

/** Who serves the first TCP port. Throws UKL_USAGE if there is none. */
function servedPort({ ports, scaler }: Shape): OpenPort {
  const port = tcpPort(ports);
  if (port !== undefined) return port;
  throw new UklError('UKL_USAGE', `${scaler} scales by requests, and the target has no TCP port`, {
    hint: "ports: ['8080:80'] in its configuration, or --set scaler=hpa",
  });
}

function knativeService(shape: Shape, values: Values, labels: object, container: object): object {
  const { guest } = servedPort(shape);
  const { startupProbe: _, ...probes } = probesOf(shape);
  return {
    apiVersion: 'serving.knative.dev/v1',
    kind: 'Service',
    metadata: { name: values.name, labels },
    spec: {
      template: {
        metadata: {
          annotations: {
            'autoscaling.knative.dev/min-scale': asText(values.minReplicas),
            'autoscaling.knative.dev/max-scale': asText(values.maxReplicas),
          },
        },
        // config-features has to have kubernetes.podspec-runtimeclassname: enabled.
        spec: {
          runtimeClassName: values.runtimeClass,
          enableServiceLinks: false,
          ...(shape.concurrency === undefined ? {} : { containerConcurrency: shape.concurrency }),
          containers: [{ ...container, ports: [{ containerPort: guest }], ...probes }],
        },
      },
    },
  };
}

function deployment(shape: Shape, values: Values, labels: object, container: object): object {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: values.name, labels },
    spec: {
      // How many there are is the scaler's: a number here would be set again by each change.
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          runtimeClassName: values.runtimeClass,
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: values.gracePeriodSeconds,
          containers: [
            {
              ...container,
              ports: shape.ports.map((port) => ({ name: portName(port), containerPort: port.guest, protocol: port.protocol.toUpperCase() })),
              ...probesOf(shape),
            },
          ],
        },
      },
    },
  };
}

/** By processor time, with an instance at least. */
function horizontalScaler(values: Values, labels: object): object {
  return {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name: values.name, labels },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: values.name },
      minReplicas: values.minReplicas,
      maxReplicas: values.maxReplicas,
      metrics: [{ type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: values.cpuUtilization } } }],
    },
  };
}

/** KEDA's HTTP add-on: by requests that are under way, down to none. */
function httpScaler(shape: Shape, values: Values, labels: object): object {
  const { name } = values;
  return {
    apiVersion: 'http.keda.sh/v1alpha1',
    kind: 'HTTPScaledObject',
    metadata: { name, labels },
    spec: {
      hosts: [values.host],
      scaleTargetRef: { name, kind: 'Deployment', apiVersion: 'apps/v1', service: name, port: servedPort(shape).guest },
      replicas: { min: values.minReplicas, max: values.maxReplicas },
      scaledownPeriod: 300,
      scalingMetric: { concurrency: { targetValue: shape.concurrency ?? USUAL_CONCURRENCY } },
    },
  };
}

function ingress(port: OpenPort, values: Values, labels: object): object {
  const backend = { service: { name: values.name, port: { name: portName(port) } } };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name: values.name, labels },
    spec: { rules: [{ host: values.host, http: { paths: [{ path: '/', pathType: 'Prefix', backend }] } }] },
  };
}

/** Only the ports are reached; what the guest reaches is not limited. */
function networkPolicy({ ports }: Shape, values: Values, labels: object): object {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: values.name, labels },
    spec: {
      podSelector: { matchLabels: labels },
      policyTypes: ['Ingress'],
      ingress: ports.length === 0 ? [] : [{ ports: ports.map(({ guest, protocol }) => ({ port: guest, protocol: protocol.toUpperCase() })) }],
    },
  };
}

const disruptionBudget = (values: Values, labels: object): object => ({
  apiVersion: 'policy/v1',
  kind: 'PodDisruptionBudget',
  metadata: { name: values.name, labels },
  spec: { maxUnavailable: 1, selector: { matchLabels: labels } },
});

const runtimeClass = (values: Values, { overheadMiB }: Shape): object => ({
  apiVersion: 'node.k8s.io/v1',
  kind: 'RuntimeClass',
  metadata: { name: values.runtimeClass },
  handler: 'ukl',
  overhead: { podFixed: { memory: `${overheadMiB}Mi`, cpu: OVERHEAD_CPU } },
  scheduling: { nodeSelector: { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64', [NODE_LABEL]: 'true' } },
});

/** Throws UKL_USAGE for a scaler that the target has no port for. */
export function manifests(shape: Shape, values: Values): readonly Manifest[] {
  const { app, ports, scaler } = shape;
  const labels = { 'app.kubernetes.io/name': app, 'app.kubernetes.io/instance': values.name };
  const container = {
    name: app,
    image: values.image,
    env: values.env,
    resources: values.resources,
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
  };
  const shared = { name: 'runtime-class', content: runtimeClass(values, shape), shared: true };
  if (scaler === 'knative') return [shared, { name: 'service', content: knativeService(shape, values, labels, container) }];
  const served = tcpPort(ports);
  return [
    shared,
    { name: 'deployment', content: deployment(shape, values, labels, container) },
    ...(ports.length > 0 ? [{ name: 'service', content: serviceOf(values.name, labels, ports) }] : []),
    { name: 'scaler', content: scaler === 'hpa' ? horizontalScaler(values, labels) : httpScaler(shape, values, labels) },
    { name: 'disruption-budget', content: disruptionBudget(values, labels) },
    { name: 'network-policy', content: networkPolicy(shape, values, labels) },
    // Requests that KEDA counts go by its own proxy.
    ...(scaler === 'hpa' && served !== undefined ? [{ name: 'ingress', content: ingress(served, values, labels), needsHost: true }] : []),
  ];
}
