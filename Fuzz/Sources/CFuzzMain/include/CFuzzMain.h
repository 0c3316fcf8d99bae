/* SPDX-License-Identifier: LGPL-3.0-only */

#ifndef CFUZZMAIN_H
#define CFUZZMAIN_H

/* SwiftPM renames an executable's main to these, and so hides libFuzzer's. */
int FuzzDecoders_main(int argc, char **argv);
int FuzzHandlers_main(int argc, char **argv);

/* From now on this process starts no other, sends no signal to another, and, where the kernel can see to it, writes to no file but below
   the paths given. Returns whether the kernel sees to the files. Ends the process when it cannot see to the rest. */
int fuzz_confine(const char *const *writable, int count);

#endif
