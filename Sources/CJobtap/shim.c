/* SPDX-License-Identifier: LGPL-3.0-only */

#include "CJobtap.h"

extern char **environ;

void cjobtap_log(flux_t *h, int level, const char *text) { flux_log(h, level, "%s", text); }

bool cjobtap_has_delegate(flux_plugin_arg_t *args) {
  void *value = 0;
  int result = flux_plugin_arg_unpack(args, CJOBTAP_ARG_IN, "{s:{s:{s:{s?o}}}}", "jobspec", "attributes", "system",
                                      "delegate", &value);
  return result == 0 && value != 0;
}

char **cjobtap_environment(void) { return environ; }
