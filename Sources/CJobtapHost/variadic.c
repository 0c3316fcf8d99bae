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

/* The formats that the plugin uses; every other is refused. */
int flux_plugin_arg_unpack(flux_plugin_arg_t *args, int flags, const char *fmt, ...) {
  if (flags == CJOBTAP_ARG_IN && (strcmp(fmt, "{s:i}") == 0 || strcmp(fmt, "{s:I}") == 0)) {
    va_list arguments;
    va_start(arguments, fmt);
    const char *key = va_arg(arguments, const char *);
    void *value = va_arg(arguments, void *);
    va_end(arguments);
    long long found = 0;
    if (cjobtaphost_int(args, key, &found) < 0) return -1;
    if (fmt[3] == 'I') {
      *(long long *)value = found;
    } else {
      *(int *)value = (int)found;
    }
    return 0;
  }
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

/* Flat objects of numbers, truth values and texts: "{s:i s:s ...}", in jansson's notation; every other format is refused. */
int flux_jobtap_event_post_pack(flux_plugin_t *p, flux_jobid_t id, const char *name, const char *fmt, ...) {
  if (!fmt) return cjobtaphost_post(p, id, name, NULL);
  void *context = cjobtaphost_context();
  int result = 0;
  const char *next = fmt;
  va_list arguments;
  va_start(arguments, fmt);
  if (*next++ != '{') result = -1;
  while (result == 0 && *next != '}') {
    if (strncmp(next, "s:", 2) != 0 || !next[2]) {
      result = -1;
      break;
    }
    const char *key = va_arg(arguments, const char *);
    switch (next[2]) {
    case 'i': cjobtaphost_add_int(context, key, va_arg(arguments, int)); break;
    case 'I': cjobtaphost_add_int(context, key, va_arg(arguments, long long)); break;
    case 'b': cjobtaphost_add_bool(context, key, va_arg(arguments, int)); break;
    case 'f': cjobtaphost_add_double(context, key, va_arg(arguments, double)); break;
    case 's': cjobtaphost_add_text(context, key, va_arg(arguments, const char *)); break;
    default: result = -1;
    }
    next += 3;
    while (*next == ' ' || *next == ',') next++;
  }
  va_end(arguments);
  if (cjobtaphost_post(result == 0 ? p : NULL, id, name, context) == 0) return 0;
  if (result != 0) errno = EINVAL;
  return -1;
}
