// A form made from a JSON Schema. A value that is not there is undefined, and is not sent.
import { html, useId, useState } from "./lib.js";
import { choices, first, fits, kind, resolved, variants } from "./schema.js";

const DEEPEST = 12;
const INPUTS = { date: "date", "date-time": "datetime-local", email: "email", uri: "url", password: "password" };

/** The form of a whole schema, with JSON beside it. `onChange` is given the value, and whether it can be sent. */
export function Form({ schema, value, onChange, label = "Arguments" }) {
  const [raw, setRaw] = useState(null);
  const [wrong, say] = useState("");
  const text = raw ?? JSON.stringify(value ?? {}, null, 2);
  const write = (next) => {
    setRaw(next);
    try {
      onChange(JSON.parse(next));
      say("");
    } catch (error) {
      say(error.message);
    }
  };
  const hasFields = Object.keys(resolved(schema ?? {}, schema).properties ?? {}).length > 0 || variants(resolved(schema ?? {}, schema), schema);
  return html`<div class="form">
    <div class="form-head"><span>${label}</span>
      <button type="button" class="small" aria-pressed=${raw !== null} onClick=${() => { setRaw(raw === null ? JSON.stringify(value ?? {}, null, 2) : null); say(""); }}>${raw === null ? "JSON" : "Form"}</button></div>
    ${raw !== null
      ? html`<textarea class="mono" rows="10" spellcheck=${false} aria-label=${`${label} as JSON`} aria-invalid=${Boolean(wrong)} value=${text} onInput=${(event) => write(event.target.value)}></textarea>
        ${wrong && html`<p class="wrong" role="alert">${wrong}</p>`}`
      : hasFields ? html`<${Fields} schema=${resolved(schema, schema)} root=${schema} value=${value} onChange=${onChange} depth=${0} />` : html`<p class="muted">It takes none.</p>`}
  </div>`;
}

/** The properties of an object, or the alternatives of one that has some. */
function Fields({ schema, root, value, onChange, depth }) {
  const alternatives = variants(schema, root);
  if (alternatives) return html`<${Variants} schema=${schema} all=${alternatives} root=${root} value=${value} onChange=${onChange} depth=${depth} />`;
  const needed = new Set(schema.required ?? []);
  const own = value && typeof value === "object" && !Array.isArray(value) ? value : {};
  const set = (name) => (next) => {
    const { [name]: _, ...others } = own;
    // What is there keeps its place, so that the JSON does not jump about.
    onChange(next === undefined ? others : { ...own, [name]: next });
  };
  const named = Object.entries(schema.properties ?? {});
  const isOpen = schema.additionalProperties && typeof schema.additionalProperties === "object";
  const extra = Object.keys(own).filter((name) => !(name in (schema.properties ?? {})));
  return html`<div class="fields">
    ${named.map(([name, child]) => html`<${Field} key=${name} name=${name} schema=${child} root=${root} value=${own[name]} required=${needed.has(name)} onChange=${set(name)} depth=${depth + 1} />`)}
    ${(isOpen || extra.length > 0) && html`<${Entries} schema=${isOpen ? schema.additionalProperties : {}} root=${root} names=${extra} value=${own} onChange=${onChange} depth=${depth + 1} />`}
  </div>`;
}

/** Keys that the schema does not name. */
function Entries({ schema, root, names, value, onChange, depth }) {
  const [name, write] = useState("");
  const add = () => {
    if (name && !(name in value)) onChange({ ...value, [name]: first(schema, root) ?? "" });
    write("");
  };
  return html`<div class="entries">
    ${names.map((key) => html`<${Field} key=${key} name=${key} schema=${schema} root=${root} value=${value[key]} depth=${depth}
      onChange=${(next) => { const { [key]: _, ...others } = value; onChange(next === undefined ? others : { ...value, [key]: next }); }} />`)}
    <span class="adder"><input aria-label="Name of a further key" placeholder="further key" value=${name} onInput=${(event) => write(event.target.value)}
      onKeyDown=${(event) => { if (event.key === "Enter") { event.preventDefault(); add(); } }} /><button type="button" class="small" onClick=${add}>Add</button></span></div>`;
}

function Field({ name, schema, root, value, required = false, onChange, depth, remove }) {
  const own = resolved(schema, root);
  const id = useId();
  const title = own.title && own.title.toLowerCase().replaceAll(" ", "_") !== String(name).toLowerCase() ? own.title : null;
  const isDeep = ["object", "array"].includes(kind(own)) || (variants(own, root) ?? []).some((one) => ["object", "array"].includes(kind(one)));
  const isSimple = !isDeep || (kind(own) === "array" && multiple(own, root));
  const head = html`<span class="field-name">${name}${required ? html`<span class="needed" title="required" aria-hidden="true">*</span>` : ""}</span>
    ${title && html`<span class="field-title">${title}</span>`}`;
  const help = own.description && html`<p class="help" id=${`${id}-help`}>${own.description}</p>`;
  if (depth > DEEPEST) return html`<div class="field"><label for=${id}>${head}</label><${Json} id=${id} value=${value} onChange=${onChange} /></div>`;
  if (!isSimple) {
    const isThere = value !== undefined;
    return html`<fieldset class="nested"><legend>${head}
      ${!required && (isThere
        ? html`<button type="button" class="small" onClick=${() => onChange(undefined)} aria-label=${`Leave ${name} out`}>Leave out</button>`
        : html`<button type="button" class="small" onClick=${() => onChange(first(own, root, true) ?? (kind(own) === "array" ? [] : {}))} aria-label=${`Give ${name}`}>Give it</button>`)}
      ${remove}</legend>${help}
      ${(isThere || required) && html`<${Input} id=${id} schema=${own} root=${root} value=${value} required=${required} onChange=${onChange} depth=${depth} name=${name} />`}</fieldset>`;
  }
  return html`<div class="field"><span class="field-head"><label for=${id}>${head}</label>${remove}</span>
    <${Input} id=${id} schema=${own} root=${root} value=${value} required=${required} onChange=${onChange} depth=${depth} name=${name} described=${own.description ? `${id}-help` : undefined} />${help}</div>`;
}

/** The choices of an array of which several can be taken; null if it is another. */
function multiple(schema, root) {
  return schema.items ? choices(resolved(schema.items, root)) : null;
}

function Input({ id, schema, root, value, required, onChange, depth, name, described }) {
  const some = choices(schema);
  const common = { id, "aria-describedby": described, required };
  if ("const" in schema) return html`<input ...${common} readonly value=${String(schema.const)} onFocus=${() => value === undefined && onChange(schema.const)} />`;
  if (some) return html`<${Choice} common=${common} some=${some} value=${value} required=${required} onChange=${onChange} />`;
  const alternatives = variants(schema, root);
  if (alternatives?.length === 1) return html`<${Input} id=${id} schema=${alternatives[0]} root=${root} value=${value} required=${required} onChange=${onChange} depth=${depth} name=${name} described=${described} />`;
  if (alternatives) return html`<${Variants} schema=${schema} all=${alternatives} root=${root} value=${value} onChange=${onChange} depth=${depth} name=${name} />`;
  switch (kind(schema)) {
    case "object": return html`<${Fields} schema=${schema} root=${root} value=${value} onChange=${onChange} depth=${depth} />`;
    case "array": return html`<${List} id=${id} schema=${schema} root=${root} value=${value} onChange=${onChange} depth=${depth} name=${name} />`;
    case "boolean": return required
      ? html`<input type="checkbox" id=${id} aria-describedby=${described} checked=${value === true} onChange=${(event) => onChange(event.target.checked)} />`
      : html`<${Choice} common=${common} some=${[{ value: true, title: "true" }, { value: false, title: "false" }]} value=${value} onChange=${onChange} />`;
    case "integer": case "number": return html`<input ...${common} type="number" value=${value ?? ""} min=${schema.minimum} max=${schema.maximum} step=${kind(schema) === "integer" ? 1 : "any"}
      onInput=${(event) => onChange(event.target.value === "" ? undefined : event.target.valueAsNumber)} />`;
    case "string": return html`<${Text} common=${common} schema=${schema} value=${value} required=${required} onChange=${onChange} />`;
    case "null": return html`<input ...${common} readonly value="null" onFocus=${() => onChange(null)} />`;
    default: return html`<${Json} id=${id} value=${value} onChange=${onChange} required=${required} />`;
  }
}

function Text({ common, schema, value, required, onChange }) {
  const type = INPUTS[schema.format];
  const limits = { minlength: schema.minLength, maxlength: schema.maxLength };
  const told = (text) => onChange(text === "" && !required ? undefined : text);
  if (schema.format === "date-time") {
    return html`<input ...${common} type="datetime-local" step="1" value=${value ? String(value).replace(/Z$/, "").slice(0, 19) : ""} onInput=${(event) => told(event.target.value && `${event.target.value}Z`)} />`;
  }
  if (type) return html`<input ...${common} ...${limits} type=${type} value=${value ?? ""} autocomplete="off" onInput=${(event) => told(event.target.value)} />`;
  return html`<textarea ...${common} ...${limits} rows="1" class="grows" value=${value ?? ""} spellcheck=${false} placeholder=${schema.examples?.[0] !== undefined ? `such as ${schema.examples[0]}` : undefined} onInput=${(event) => told(event.target.value)}></textarea>`;
}

function Choice({ common, some, value, onChange }) {
  const at = some.findIndex((one) => JSON.stringify(one.value) === JSON.stringify(value));
  return html`<select ...${common} value=${at < 0 ? "" : String(at)} onChange=${(event) => onChange(event.target.value === "" ? undefined : some[Number(event.target.value)].value)}>
    <option value="">${common.required ? "choose…" : "–"}</option>${some.map((one, index) => html`<option key=${index} value=${String(index)}>${one.title}</option>`)}</select>`;
}

/** One of several schemas, chosen by name. */
function Variants({ all, root, value, onChange, depth, name }) {
  const guess = Math.max(0, all.findIndex((one) => fits(value, one, root)));
  const [at, choose] = useState(guess);
  const id = useId();
  const own = all[at] ?? all[0];
  const names = all.map((one, index) => one.title ?? constOf(one, root) ?? `${kind(one)} ${all.filter((other) => kind(other) === kind(one)).length > 1 ? index + 1 : ""}`.trim());
  const pick = (event) => {
    const next = Number(event.target.value);
    choose(next);
    onChange(first(all[next], root, true));
  };
  return html`<div class="variants"><label for=${id} class="muted">one of</label> <select id=${id} value=${String(at)} onChange=${pick} aria-label=${`Kind of ${name ?? "arguments"}`}>${names.map((title, index) => html`<option key=${index} value=${String(index)}>${title}</option>`)}</select>
    <${Input} id=${`${id}-in`} schema=${own} root=${root} value=${value} required=${true} onChange=${onChange} depth=${depth} name=${name} key=${at} /></div>`;
}

/** What tells an object from the others: the value of its one constant. */
function constOf(schema, root) {
  for (const child of Object.values(schema.properties ?? {})) {
    const own = resolved(child, root);
    if ("const" in own) return String(own.const);
  }
  return undefined;
}

function List({ id, schema, root, value, onChange, depth, name }) {
  const items = Array.isArray(value) ? value : [];
  const several = multiple(schema, root);
  if (several) {
    const has = (one) => items.some((item) => item === one.value);
    return html`<div class="checks" role="group" id=${id}>${several.map((one) => html`<label class="check" key=${one.title}><input type="checkbox" checked=${has(one)}
      onChange=${(event) => onChange(event.target.checked ? [...items, one.value] : items.filter((item) => item !== one.value))} /> ${one.title}</label>`)}</div>`;
  }
  const item = schema.items ?? {};
  const set = (index) => (next) => onChange(items.map((one, at) => (at === index ? next ?? null : one)));
  return html`<div class="items" id=${id}>${items.map((one, index) => html`<${Field} key=${index} name=${`${name ?? "item"} ${index + 1}`} schema=${schema.prefixItems?.[index] ?? item} root=${root} value=${one ?? undefined} required=${true} onChange=${set(index)} depth=${depth + 1}
      remove=${html`<button type="button" class="small" aria-label=${`Remove ${name ?? "item"} ${index + 1}`} onClick=${() => onChange(items.filter((_, at) => at !== index))}>Remove</button>`} />`)}
    <button type="button" class="small" disabled=${schema.maxItems !== undefined && items.length >= schema.maxItems} onClick=${() => onChange([...items, first(item, root, true) ?? (kind(resolved(item, root)) === "string" ? "" : null)])}>Add ${name ?? "an item"}</button></div>`;
}

function Json({ id, value, onChange, required }) {
  const [text, write] = useState(value === undefined ? "" : JSON.stringify(value));
  const [wrong, say] = useState("");
  const told = (next) => {
    write(next);
    if (next.trim() === "") {
      say("");
      onChange(undefined);
      return;
    }
    try {
      onChange(JSON.parse(next));
      say("");
    } catch {
      say("This is no JSON yet: a text needs quotes");
    }
  };
  return html`<textarea id=${id} rows="1" class="mono grows" spellcheck=${false} required=${required} placeholder="JSON" aria-invalid=${Boolean(wrong)} value=${text} onInput=${(event) => told(event.target.value)}></textarea>
    ${wrong && html`<p class="wrong">${wrong}</p>`}`;
}
