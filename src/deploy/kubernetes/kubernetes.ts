// SPDX-License-Identifier: MIT
/** Kubernetes: pods whose containers ukl's runtime starts as guests. Manifests for kustomize, and a chart for Helm. */
import { UklError } from '../../lib/errors.js';
import { shellQuote } from '../../lib/shell.js';
import { type DeployParts, HEALTH, openPorts, type Platform, wholeNumber } from '../platform.js';
import { chart } from './chart.js';
import { kustomizationOf, overlay } from './kustomize.js';
import { environmentOf, manifests, resourcesOf, SCALERS, type Scaler, type Shape, type Values } from './manifests.js';
import { IMAGE, pinned, push, SKOPEO } from './registry.js';
import { isDomain, KUBECTL, NAMESPACE } from './settings.js';

const q = shellQuote;

/** Throws UKL_USAGE for settings that do not go together. */
function valuesOf(parts: DeployParts, scaler: Scaler): Values {
  const { name, settings } = parts;
  const { min = '', max = '', host = '' } = settings;
  if (scaler === 'keda' && host === '')
    throw new UklError('UKL_USAGE', "KEDA's proxy tells services by the host of a request", { hint: '--set host=web.example' });
  const least = min === '' ? (scaler === 'hpa' ? 1 : 0) : Number(min);
  if (least > Number(max)) throw new UklError('UKL_USAGE', `at least ${least} instances are more than ${max}`, { hint: `--set max=${least}` });
  if (least === 0 && scaler === 'hpa')
    throw new UklError('UKL_USAGE', 'a HorizontalPodAutoscaler keeps an instance at least', { hint: '--set scaler=keda or knative scale to none' });
  return {
    ...{ name, host, image: pinned(parts), runtimeClass: settings['runtime-class'] ?? '', resources: resourcesOf(parts), env: environmentOf(parts.env) },
    ...{ gracePeriodSeconds: Number(settings.grace), minReplicas: least, maxReplicas: Number(max), cpuUtilization: Number(settings.cpu) },
  };
}

/** kubernetes.io, "Runtime Class"; kustomize.io; helm.sh; kedacore.github.io/http-add-on; knative.dev. */
export const kubernetes: Platform = {
  name: 'kubernetes',
  title: 'Kubernetes',
  containers: ['oci'],
  profile: 'server',
  tools: [SKOPEO, KUBECTL, { command: 'helm', from: 'helm.sh', when: ({ by }) => by === 'helm' }],
  settings: [
    IMAGE,
    NAMESPACE,
    { name: 'by', help: 'kubectl or helm', byDefault: 'kubectl', takes: (value) => /^(kubectl|helm)$/.test(value) },
    { name: 'scaler', help: SCALERS.join(', '), byDefault: 'hpa', takes: (value) => (SCALERS as readonly string[]).includes(value) },
    { name: 'min', help: 'instances at least', byDefault: '', takes: wholeNumber(0, 10_000) },
    { name: 'max', help: 'instances at most', byDefault: '10', takes: wholeNumber(1, 10_000) },
    { name: 'cpu', help: 'percent of processor time that hpa aims at', byDefault: '80', takes: wholeNumber(1, 1000) },
    { name: 'concurrency', help: 'requests that an instance has at once, with keda and knative', byDefault: '', takes: wholeNumber(1, 1000) },
    { name: 'host', help: 'host of requests from outside', byDefault: '', takes: isDomain },
    HEALTH,
    { name: 'grace', help: 'seconds for the program to end', byDefault: '30', takes: wholeNumber(0, 86_400) },
    // As measured (docs/notes/overhead.md), of the largest image there.
    { name: 'overhead', help: "MiB of a node's memory besides the guest's", byDefault: '224', takes: wholeNumber(0, 1_000_000) },
    { name: 'runtime-class', help: 'RuntimeClass', byDefault: 'ukl', takes: isDomain },
  ],
  plan: (parts) => {
    const { name, settings } = parts;
    const { namespace = '', health = '', concurrency = '', by, host } = settings;
    const scaler = settings.scaler as Scaler;
    const shape: Shape = {
      app: name,
      ports: openPorts(parts),
      health,
      scaler,
      concurrency: concurrency === '' ? undefined : Number(concurrency),
      overheadMiB: Number(settings.overhead),
    };
    const values = valuesOf(parts, scaler);
    const all = manifests(shape, values);
    const kind = scaler === 'knative' ? 'services.serving.knative.dev' : 'deployments.apps';
    const inNamespace = `--namespace ${q(namespace)}`;
    const applied = all.filter(({ needsHost }) => !needsHost || host !== '');
    const wait =
      scaler === 'knative'
        ? `kubectl wait ${kind}/${name} --for condition=Ready ${inNamespace} --timeout 5m`
        : `kubectl rollout status deployment/${name} ${inNamespace} --timeout 5m`;
    return {
      files: { ...kustomizationOf(namespace, applied), ...overlay(name), ...chart(shape, values) },
      occupied: `kubectl get ${kind} ${q(name)} ${inNamespace} --ignore-not-found --output name`,
      // The class belongs to no release.
      script: `${push(parts)}${
        by === 'helm'
          ? `kubectl apply --filename base/runtime-class.yaml\nhelm upgrade --install ${q(name)} chart ${inNamespace} --create-namespace --wait --timeout 5m\n`
          : `kubectl apply --kustomize base\n${wait}\n`
      }`,
    };
  },
};
