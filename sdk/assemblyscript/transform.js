// Names the methods: the compiler's exports cannot hold the space of `canister_update sort`, so a program
// exports `canister_update_sort`. Used by `gyrotron deploy`; with plain asc: --transform.

const METHOD = /^canister_(composite_query|query|update)_(.+)$/;

export default class {
  /** Called by the compiler with its result, a module of binaryen. */
  afterCompile(module) {
    const { binaryen } = this;
    const methods = [];
    for (let i = 0; i < module.getNumExports(); i++) {
      const { name, value } = binaryen.getExportInfo(module.getExportByIndex(i));
      if (METHOD.test(name)) methods.push({ name, value });
    }
    for (const { name, value } of methods) {
      module.removeExport(name);
      module.addFunctionExport(value, name.replace(METHOD, "canister_$1 $2"));
    }
  }
}
