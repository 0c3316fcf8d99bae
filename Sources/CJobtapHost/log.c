/* SPDX-License-Identifier: LGPL-3.0-only */

#include "CJobtapHost.h"

#include "CJobtap.h"
#include <stdarg.h>
#include <stdio.h>

/* A line longer than this is cut, as Flux's own log does. */
enum { LONGEST_LINE = 2048 };

int flux_log(flux_t *h, int level, const char *fmt, ...) {
  char text[LONGEST_LINE];
  va_list arguments;
  va_start(arguments, fmt);
  vsnprintf(text, sizeof text, fmt, arguments);
  va_end(arguments);
  cjobtaphost_log(h, level, text);
  return 0;
}
