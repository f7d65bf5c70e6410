// Prints the table of families, a line each: model_type, its aliases, GGUF's architecture, with tabs between
// them. scripts/models-table makes docs/models.md from it.
#include <stdio.h>

#include "model/arch.h"

int main(void) {
  const fg_arch *arch;
  for (uint32_t i = 0; (arch = fg_arch_at(i)); i++) {
    printf("%s\t", arch->name);
    for (int k = 0; k < 3 && arch->aliases[k]; k++) printf("%s%s", k ? " " : "", arch->aliases[k]);
    printf("\t%s\n", arch->gguf ? arch->gguf : "");
  }
  return 0;
}
