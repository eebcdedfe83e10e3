/** The query of a request against the parameters of its operation. */

import type { Operation, Parameter, Schema } from './bundle.ts';
import type { Misfit, SpecSchemas } from './schemas.ts';

const schemaPath = 'parameters';

export function queryMisfits(schemas: SpecSchemas, { query }: Operation, text: string): Misfit[] {
  const given = new URLSearchParams(text);
  // An object is written as its members: "One or more custom fields that are passed to the application service".
  const anyNamed = fieldsOf(query);
  const known = new Map(query.map((parameter) => [parameter.name, parameter]));
  const misfits: Misfit[] = [];
  for (const name of new Set(given.keys())) {
    const parameter = known.get(name) ?? anyNamed;
    const pointer = `?${name}`;
    if (parameter === undefined) {
      misfits.push({ pointer, expected: `a parameter of ${[...known.keys()]}`, value: name, schemaPath });
      continue;
    }
    const values = given.getAll(name);
    const value = typeIsOf(parameter.schema, 'array') ? values : parsedAs(values[0] ?? '', parameter.schema);
    const found = schemas.misfits(parameter.schema, value);
    misfits.push(...found.map((misfit) => ({ ...misfit, pointer: `${pointer}${misfit.pointer}` })));
  }
  for (const { name, required } of query) {
    if (required && !given.has(name))
      misfits.push({ pointer: `?${name}`, expected: 'it is required', value: undefined, schemaPath });
  }
  return misfits;
}

/** What the text of a parameter stands for. */
function parsedAs(text: string, schema: Schema): unknown {
  if ((typeIsOf(schema, 'integer') || typeIsOf(schema, 'number')) && /^-?\d+$/.test(text))
    return Number(text);
  if (typeIsOf(schema, 'boolean') && /^(true|false)$/.test(text)) return text === 'true';
  return text;
}

function fieldsOf(query: readonly Parameter[]): Parameter | undefined {
  const fields = query.find(({ schema }) => typeIsOf(schema, 'object'));
  return fields && { ...fields, schema: fields.schema.additionalProperties as Schema };
}

function typeIsOf({ type }: Schema, name: string): boolean {
  return type === name;
}
