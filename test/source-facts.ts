/**
 * What the checks of `layers.ts` and `style.ts` need to know of each TypeScript file, read off TypeScript's own
 * syntax tree: its imports, the size of its functions, and constructs that the style guide forbids.
 */

import path from 'node:path';
import {
  isArrowFunction,
  isCallExpression,
  isExportDeclaration,
  isFunctionLikeDeclaration,
  isImportDeclaration,
  isImportTypeNode,
  isLiteralTypeNode,
  isStringLiteral,
  type Node,
  type SourceFile,
  SyntaxKind,
} from 'typescript/unstable/ast';
import { createVirtualFileSystem } from 'typescript/unstable/fs';
import { API } from 'typescript/unstable/sync';

export interface SourceFacts {
  /** From the root of the repository, with `/`. */
  readonly file: string;
  readonly lines: number;
  readonly imports: readonly ImportFact[];
  readonly functions: readonly FunctionFact[];
  readonly constructs: readonly { readonly what: Construct; readonly line: number }[];
}

export interface ImportFact {
  readonly specifier: string;
  readonly line: number;
  /** `import type` and the like: nothing of it is left at run time. */
  readonly typeOnly: boolean;
}

export interface FunctionFact {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
  readonly parameters: number;
}

export type Construct = 'any' | 'enum' | 'default export';

/** The facts of every TypeScript file that `tsconfig.json` in `root` includes, sorted by path. */
export function readRepository(root: string): SourceFacts[] {
  return readProject(new API({ cwd: root }), root);
}

/** The same for made-up files: path to text. */
export function readSamples(samples: Readonly<Record<string, string>>): SourceFacts[] {
  const root = '/samples';
  const config = { compilerOptions: { noLib: true, types: [], noResolve: true }, include: ['**/*.ts'] };
  const files: Record<string, string> = { [`${root}/tsconfig.json`]: JSON.stringify(config) };
  for (const [file, text] of Object.entries(samples)) files[`${root}/${file}`] = text;
  return readProject(new API({ cwd: root, fs: createVirtualFileSystem(files) }), root);
}

function readProject(api: API, root: string): SourceFacts[] {
  try {
    const snapshot = api.updateSnapshot({ openProject: path.join(root, 'tsconfig.json') });
    const facts: SourceFacts[] = [];
    for (const { program } of snapshot.getProjects()) {
      for (const name of program.getSourceFileNames()) {
        const file = path.relative(root, name).split(path.sep).join('/');
        if (file.startsWith('../') || file.startsWith('node_modules/')) continue;
        const source = program.getSourceFile(name);
        if (source !== undefined) facts.push(factsOf(file, source));
      }
    }
    return facts.sort((a, b) => (a.file < b.file ? -1 : 1));
  } finally {
    api.close();
  }
}

function factsOf(file: string, source: SourceFile): SourceFacts {
  const lineStarts = source.getLineStarts();
  const lineAt = (position: number) => lineStarts.findLastIndex((start) => start <= position) + 1;
  const imports: ImportFact[] = [];
  const functions: FunctionFact[] = [];
  const constructs: { what: Construct; line: number }[] = [];
  const visit = (node: Node, name: string) => {
    const line = lineAt(node.getStart(source));
    const imported = importOf(node);
    if (imported !== undefined) imports.push({ ...imported, line });
    const what = constructOf(node);
    if (what !== undefined) constructs.push({ what, line });
    const ownName = nameOf(node) ?? name;
    if (isFunctionLikeDeclaration(node) && 'body' in node && node.body !== undefined) {
      const lines = lineAt(node.end - 1) - line + 1;
      functions.push({ name: ownName, line, lines, parameters: node.parameters.length });
    }
    node.forEachChild((child) => {
      // A name reaches down only to the function that is its value: `const wake = () => ...`.
      visit(
        child,
        isArrowFunction(child) || child.kind === SyntaxKind.FunctionExpression ? ownName : '(anonymous)',
      );
    });
  };
  visit(source, '(file)');
  return { file, lines: source.text.trimEnd().split('\n').length, imports, functions, constructs };
}

function importOf(node: Node): { specifier: string; typeOnly: boolean } | undefined {
  if (isImportDeclaration(node) && isStringLiteral(node.moduleSpecifier)) {
    const typeOnly = node.importClause?.phaseModifier === SyntaxKind.TypeKeyword;
    return { specifier: node.moduleSpecifier.text, typeOnly };
  }
  if (
    isExportDeclaration(node) &&
    node.moduleSpecifier !== undefined &&
    isStringLiteral(node.moduleSpecifier)
  ) {
    return { specifier: node.moduleSpecifier.text, typeOnly: node.isTypeOnly };
  }
  if (isImportTypeNode(node) && isLiteralTypeNode(node.argument) && isStringLiteral(node.argument.literal)) {
    return { specifier: node.argument.literal.text, typeOnly: true };
  }
  if (isCallExpression(node) && node.expression.kind === SyntaxKind.ImportKeyword) {
    const [specifier] = node.arguments;
    if (specifier !== undefined && isStringLiteral(specifier))
      return { specifier: specifier.text, typeOnly: false };
  }
  return undefined;
}

function constructOf(node: Node): Construct | undefined {
  switch (node.kind) {
    case SyntaxKind.AnyKeyword:
      return 'any';
    case SyntaxKind.EnumDeclaration:
      return 'enum';
    case SyntaxKind.ExportAssignment:
    case SyntaxKind.DefaultKeyword:
      return node.kind === SyntaxKind.DefaultKeyword && node.parent.kind === SyntaxKind.DefaultClause
        ? undefined
        : 'default export';
    default:
      return undefined;
  }
}

function nameOf(node: Node): string | undefined {
  if (node.kind === SyntaxKind.Constructor) return 'constructor';
  if (!('name' in node)) return undefined;
  const { name } = node;
  return typeof name === 'object' && name !== null && 'text' in name && typeof name.text === 'string'
    ? name.text
    : undefined;
}
