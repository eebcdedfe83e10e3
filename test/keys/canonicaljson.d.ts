declare module 'canonicaljson' {
  const canonicalJson: { stringify(value: unknown): string };
  export = canonicalJson;
}
