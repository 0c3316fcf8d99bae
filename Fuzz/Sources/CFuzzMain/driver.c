/* SPDX-License-Identifier: LGPL-3.0-only */

#include "CFuzzMain.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*test)(const uint8_t *data, size_t size));
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int FuzzDecoders_main(int argc, char **argv) { return LLVMFuzzerRunDriver(&argc, &argv, LLVMFuzzerTestOneInput); }

/* Its own in FuzzHandlers; there are none to write in FuzzDecoders. */
__attribute__((weak)) int fuzz_write_seeds(const char *directory);

int FuzzHandlers_main(int argc, char **argv) {
  /* The order of dictionaries is part of what an input does. Swift reads this before main. */
  if (!getenv("SWIFT_DETERMINISTIC_HASHING")) {
    setenv("SWIFT_DETERMINISTIC_HASHING", "1", 1);
    /* A trap is libFuzzer's, which keeps the input. */
    setenv("SWIFT_BACKTRACE", "enable=no", 1);
    /* The leak sanitizer would need a process of its own; that an instance goes as a whole is checked after every input. Where memory was
       taken is not noted, for it costs a third of the time: set this yourself to see it. */
    setenv("ASAN_OPTIONS", "detect_leaks=0:malloc_context_size=1:quarantine_size_mb=32", 0);
    execv("/proc/self/exe", argv);
    perror("execv");
    return 1;
  }
  static const char *const writable[] = {"corpus-handlers", "corpus-handlers-work", "findings"};
  if (!fuzz_confine(writable, 3)) fprintf(stderr, "this kernel has no Landlock: files are kept from the fuzzer by its own code alone\n");
  /* What was shown of an input is there, however it ends. */
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc == 3 && strcmp(argv[1], "--seeds") == 0) return fuzz_write_seeds(argv[2]);
  return LLVMFuzzerRunDriver(&argc, &argv, LLVMFuzzerTestOneInput);
}
