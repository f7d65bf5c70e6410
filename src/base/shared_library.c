#include "base/shared_library.h"

#include <dlfcn.h>
#include <string.h>

fg_status fg_shared_library_open(void **handle, const fg_shared_library *library, void *out, fg_error *err) {
  *handle = dlopen(library->file, RTLD_NOW | RTLD_LOCAL);
  if (!*handle)
    return fg_fail(err, FG_NOT_FOUND, "%s is not installed; %s (%s)", library->name, library->advice,
                   dlerror());
  for (size_t i = 0; i < library->count; i++) {
    const fg_shared_function *f = &library->functions[i];
    void *address = dlsym(*handle, f->name);
    if (!address) {
      fg_shared_library_close(*handle);
      *handle = NULL;
      return fg_fail(err, FG_UNSUPPORTED, "%s has no %s; %s is wanted", library->name, f->name,
                     library->wanted);
    }
    memcpy((char *)out + f->offset, &address, sizeof address);
  }
  return FG_OK;
}

void fg_shared_library_close(void *handle) {
  if (handle) dlclose(handle);
}
