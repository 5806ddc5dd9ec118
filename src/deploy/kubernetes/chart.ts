// SPDX-License-Identifier: MIT
/** A chart for Helm: the manifests, with places for what is in its values. */
import { manifests, type Shape, type Values } from './manifests.js';
import { Template, toYaml } from './yaml.js';

interface Value {
  readonly value: unknown;
  /** JSON Schema, draft 7; its description is a comment of values.yaml as well. */
  readonly schema: { readonly description: string; readonly [key: string]: unknown };
}

const closed = (properties: Readonly<Record<string, unknown>>): object => ({ type: 'object', additionalProperties: false, properties });
const replicas = (minimum: number): object => ({ type: 'integer', minimum });

const RESOURCES = { type: 'object', additionalProperties: { type: ['string', 'number'] } };

function valuesOf({ scaler }: Shape, values: Values): Readonly<Record<string, Value>> {
  const { minReplicas: min, maxReplicas: max, cpuUtilization: cpu } = values;
  const least = scaler === 'hpa' ? 1 : 0;
  return {
    image: { value: values.image, schema: { description: 'Container image with the unikernel', type: 'string', minLength: 1 } },
    runtimeClassName: { value: values.runtimeClass, schema: { description: 'RuntimeClass whose handler is ukl', type: 'string', minLength: 1 } },
    resources: {
      value: values.resources,
      schema: { description: "The guest's memory and processors", ...closed({ requests: RESOURCES, limits: RESOURCES }) },
    },
    env: {
      value: values.env,
      schema: {
        description: 'Environment of the program',
        ...{ type: 'array', items: { ...closed({ name: { type: 'string', minLength: 1 }, value: { type: 'string' } }), required: ['name', 'value'] } },
      },
    },
    scaling: {
      value: { min, max, ...(scaler === 'hpa' ? { cpu } : {}) },
      schema: {
        description: `Instances at least and at most${scaler === 'hpa' ? '; percent of processor time that is aimed at' : ''}`,
        ...closed({ min: replicas(least), max: replicas(1), ...(scaler === 'hpa' ? { cpu: replicas(1) } : {}) }),
        required: ['min', 'max', ...(scaler === 'hpa' ? ['cpu'] : [])],
      },
    },
    ...(scaler === 'knative'
      ? {}
      : {
          host: {
            value: values.host,
            schema: { description: 'Host of requests from outside', type: 'string', ...(scaler === 'keda' ? { minLength: 1 } : {}) },
          },
          gracePeriodSeconds: {
            value: values.gracePeriodSeconds,
            schema: { description: 'Time for the program to end', type: 'integer', minimum: 0 },
          },
        }),
  };
}

const PLACES: Values = {
  name: new Template('.Release.Name', 'text'),
  image: new Template('.Values.image', 'text'),
  runtimeClass: new Template('.Values.runtimeClassName', 'text'),
  resources: new Template('.Values.resources', 'block'),
  env: new Template('.Values.env', 'block'),
  gracePeriodSeconds: new Template('.Values.gracePeriodSeconds', 'number'),
  minReplicas: new Template('.Values.scaling.min', 'number'),
  maxReplicas: new Template('.Values.scaling.max', 'number'),
  cpuUtilization: new Template('.Values.scaling.cpu', 'number'),
  host: new Template('.Values.host', 'text'),
};

/** The files of a chart, by name. What belongs to the cluster is not among them: releases would share it. */
export function chart(shape: Shape, values: Values): Readonly<Record<string, string>> {
  const known = valuesOf(shape, values);
  const descriptions = Object.fromEntries(Object.entries(known).map(([key, { schema }]) => [key, schema.description]));
  const schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    // Helm itself adds `global`.
    ...closed({ ...Object.fromEntries(Object.entries(known).map(([key, value]) => [key, value.schema])), global: { type: 'object' } }),
    required: Object.keys(known),
  };
  const templates = manifests(shape, PLACES)
    .filter(({ shared }) => !shared)
    .map(({ name, content, needsHost }) => {
      const text = toYaml(content);
      return [`chart/templates/${name}.yaml`, needsHost ? `{{- if .Values.host }}\n${text}{{- end }}\n` : text];
    });
  return {
    'chart/Chart.yaml': toYaml({
      apiVersion: 'v2',
      name: shape.app,
      description: `${shape.app}, a unikernel`,
      type: 'application',
      version: '0.1.0',
      appVersion: '1',
    }),
    'chart/values.yaml': toYaml(Object.fromEntries(Object.entries(known).map(([key, { value }]) => [key, value])), descriptions),
    'chart/values.schema.json': `${JSON.stringify(schema, null, 2)}\n`,
    ...Object.fromEntries(templates),
  };
}
