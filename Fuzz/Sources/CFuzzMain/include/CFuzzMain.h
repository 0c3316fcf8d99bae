/* SPDX-License-Identifier: LGPL-3.0-only */

#ifndef CFUZZMAIN_H
#define CFUZZMAIN_H

/* SwiftPM renames an executable's main to this, and so hides libFuzzer's. */
int FuzzDecoders_main(int argc, char **argv);

#endif
