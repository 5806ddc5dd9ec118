// SPDX-License-Identifier: MIT
/** What `kubectl apply --kustomize` takes. */
import { type Manifest, resourcesOf } from './manifests.js';
import { toYaml } from './yaml.js';

const KUSTOMIZATION = { apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization' };

/** Objects for kubectl apply, in a directory `base`. */
export function kustomizationOf(namespace: string, given: readonly Manifest[]): Readonly<Record<string, string>> {
  const own = namespace === 'default' ? [] : [{ name: 'namespace', content: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } } }];
  const objects = [...own, ...given];
  return {
    ...Object.fromEntries(objects.map(({ name, content }) => [`base/${name}.yaml`, toYaml(content)])),
    'base/kustomization.yaml': toYaml({ ...KUSTOMIZATION, namespace, resources: objects.map(({ name }) => `${name}.yaml`) }),
  };
}

/** How a deployment of one's own differs from the base. */
export function overlay(app: string): Readonly<Record<string, string>> {
  const change = { op: 'replace', path: '/spec/template/spec/containers/0/resources', value: resourcesOf({ cpus: 2, memoryMiB: 1024 }) };
  const target = { group: 'apps|serving.knative.dev', labelSelector: `app.kubernetes.io/name=${app}` };
  return { 'overlays/example/kustomization.yaml': toYaml({ ...KUSTOMIZATION, resources: ['../../base'], patches: [{ target, patch: toYaml([change]) }] }) };
}
