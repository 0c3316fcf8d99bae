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

int cjobtap_post_started(flux_plugin_t *p, flux_jobid_t id, double timestamp) {
  return flux_jobtap_event_post_pack(p, id, "delegate::start", "{s:f}", "timestamp", timestamp);
}

int cjobtap_post_expiration(flux_plugin_t *p, flux_jobid_t id, double expiration) {
  return flux_jobtap_event_post_pack(p, id, "resource-update", "{s:f}", "expiration", expiration);
}

int cjobtap_post_override(flux_plugin_t *p, flux_jobid_t id, const char *run_duration) {
  return flux_jobtap_event_post_pack(p, id, "jobspec-update", "{s:i s:s}", "attributes.system.exec.test.override", 1,
                                     "attributes.system.exec.test.run_duration", run_duration);
}

char **cjobtap_environment(void) { return environ; }
