// JSON Schema as a form needs it: references followed, alternatives told apart, and a first value. Pure.

const MOST_REFERENCES = 32;

/** What `#/$defs/X` of a root leads to; a schema that leads elsewhere, or round and round, is anything. */
export function resolved(schema, root) {
  let found = schema;
  for (let step = 0; found && typeof found === "object" && typeof found.$ref === "string"; step++) {
    if (step > MOST_REFERENCES || !found.$ref.startsWith("#")) return {};
    const { $ref, ...beside } = found;
    let at = root;
    for (const part of $ref.slice(1).split("/").filter(Boolean)) at = at?.[decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~")];
    found = { ...at, ...beside };
  }
  if (found === true || found == null || typeof found !== "object") return {};
  if (Array.isArray(found.allOf)) {
    const { allOf, ...own } = found;
    return allOf.map((one) => resolved(one, root)).reduce((sum, one) => ({
      ...sum, ...one, properties: { ...sum.properties, ...one.properties }, required: [...(sum.required ?? []), ...(one.required ?? [])],
    }), own);
  }
  return found;
}

const isNull = (schema) => schema?.type === "null" || schema?.const === null;

/** The values to choose from, with their titles; null if it is no choice of values. */
export function choices(schema) {
  if (Array.isArray(schema.enum)) return schema.enum.map((value, index) => ({ value, title: schema.enumNames?.[index] ?? String(value) }));
  const all = schema.oneOf ?? schema.anyOf;
  if (Array.isArray(all) && all.length && all.every((one) => one && "const" in one)) return all.map((one) => ({ value: one.const, title: one.title ?? String(one.const) }));
  return null;
}

/** The schemas of which one is chosen; null if there is nothing to choose. What may be null besides is that alone. */
export function variants(schema, root) {
  const all = schema.oneOf ?? schema.anyOf;
  if (!Array.isArray(all) || choices(schema)) return null;
  const { oneOf, anyOf, default: ours, discriminator, ...shared } = schema;
  const found = all.map((one) => {
    const own = resolved(one, root);
    const merged = { ...shared, ...own };
    if (shared.properties || own.properties) merged.properties = { ...shared.properties, ...own.properties };
    return merged;
  }).filter((one) => !isNull(one));
  return found.length ? found : null;
}

/** The one type that a field is for. */
export function kind(schema) {
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== "null") : schema.type;
  if (type) return type;
  if (schema.properties || schema.additionalProperties) return "object";
  if (schema.items || schema.prefixItems) return "array";
  return "any";
}

/** What a form begins with: defaults, what can be nothing else, and whatever has to be there. Undefined for what may be left out. */
export function first(schema, root, required = true, depth = 0) {
  const own = resolved(schema, root);
  // Many servers write `default: null` for what may be left out.
  if ("default" in own && (own.default !== null || required)) return structuredClone(own.default);
  if ("const" in own) return required ? own.const : undefined;
  const some = choices(own);
  if (some) return required && some.length === 1 ? some[0].value : undefined;
  if (!required || depth > 6) return undefined;
  const alternatives = variants(own, root);
  if (alternatives) return first(alternatives[0], root, true, depth + 1);
  if (kind(own) === "object") {
    const needed = new Set(own.required ?? []);
    const pairs = Object.entries(own.properties ?? {}).map(([name, child]) => [name, first(child, root, needed.has(name), depth + 1)]);
    return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
  }
  if (kind(own) === "array") return Array.from({ length: own.minItems ?? 0 }, () => first(own.items ?? {}, root, true, depth + 1) ?? null);
  if (kind(own) === "boolean") return false;
  return undefined;
}

/** Whether a value could be one of a schema: enough to say which of several alternatives is meant. */
export function fits(value, schema, root) {
  const own = resolved(schema, root);
  if ("const" in own) return value === own.const;
  const type = kind(own);
  if (type === "object") {
    if (value === null || typeof value !== "object" || Array.isArray(value)) return false;
    const properties = Object.entries(own.properties ?? {});
    return (own.required ?? []).every((name) => name in value) && properties.every(([name, child]) => !(name in value) || !("const" in resolved(child, root)) || fits(value[name], child, root));
  }
  if (type === "array") return Array.isArray(value);
  if (type === "integer" || type === "number") return typeof value === "number";
  return type === "any" || typeof value === type;
}
