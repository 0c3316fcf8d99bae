/* SPDX-License-Identifier: LGPL-3.0-only */

#include "CJobtapHost.h"

#include "CJobtap.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

/* The one format that the plugin uses; every other is refused. */
int flux_plugin_arg_unpack(flux_plugin_arg_t *args, int flags, const char *fmt, ...) {
  if (flags != CJOBTAP_ARG_IN || strcmp(fmt, "{s:{s:{s:{s?o}}}}") != 0) {
    errno = EINVAL;
    return -1;
  }
  va_list arguments;
  va_start(arguments, fmt);
  const char *keys[4];
  for (int i = 0; i < 4; i++) keys[i] = va_arg(arguments, const char *);
  void **value = va_arg(arguments, void **);
  va_end(arguments);
  *value = cjobtaphost_member(args, keys[0], keys[1], keys[2], keys[3]);
  return 0;
}
