/** The query of a request against the parameters of its operation. */

import type { Operation, Schema } from './bundle.ts';
import type { Misfit, SpecSchemas } from './schemas.ts';

const schemaPath = 'parameters';

export function queryMisfits(schemas: SpecSchemas, { query }: Operation, text: string): Misfit[] {
  const given = new URLSearchParams(text);
  const known = new Map(query.map((parameter) => [parameter.name, parameter]));
  const misfits: Misfit[] = [];
  for (const name of new Set(given.keys())) {
    const parameter = known.get(name);
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

function typeIsOf({ type }: Schema, name: string): boolean {
  return type === name;
}
