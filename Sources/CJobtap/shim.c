/* SPDX-License-Identifier: LGPL-3.0-only */

#include "CJobtap.h"

extern char **environ;

static bool has_system_attribute(flux_plugin_arg_t *args, const char *name) {
  void *value = 0;
  int result =
      flux_plugin_arg_unpack(args, CJOBTAP_ARG_IN, "{s:{s:{s:{s?o}}}}", "jobspec", "attributes", "system", name, &value);
  return result == 0 && value != 0;
}

void cjobtap_log(flux_t *h, int level, const char *text) { flux_log(h, level, "%s", text); }

bool cjobtap_has_delegate(flux_plugin_arg_t *args) { return has_system_attribute(args, "delegate"); }

bool cjobtap_has_dependencies(flux_plugin_arg_t *args) { return has_system_attribute(args, "dependencies"); }

int cjobtap_state(flux_plugin_arg_t *args) {
  int state = 0;
  return flux_plugin_arg_unpack(args, CJOBTAP_ARG_IN, "{s:i}", "state", &state) == 0 ? state : -1;
}

bool cjobtap_id(flux_plugin_arg_t *args, uint64_t *id) {
  long long found = 0;
  if (flux_plugin_arg_unpack(args, CJOBTAP_ARG_IN, "{s:I}", "id", &found) < 0) return false;
  *id = (uint64_t)found;
  return true;
}

bool cjobtap_is_of(flux_plugin_arg_t *args, uint32_t userid) {
  int found = 0;
  return flux_plugin_arg_unpack(args, CJOBTAP_ARG_IN, "{s:i}", "userid", &found) == 0 && (uint32_t)found == userid;
}

int cjobtap_post_started(flux_plugin_t *p, flux_jobid_t id, double timestamp) {
  return flux_jobtap_event_post_pack(p, id, "delegate::start", "{s:f}", "timestamp", timestamp);
}

int cjobtap_post_prolog(flux_plugin_t *p, flux_jobid_t id, const char *description) {
  return flux_jobtap_event_post_pack(p, id, "prolog-start", "{s:s}", "description", description);
}

int cjobtap_post_start(flux_plugin_t *p, flux_jobid_t id) {
  return flux_jobtap_event_post_pack(p, id, "start", 0);
}

int cjobtap_post_finish(flux_plugin_t *p, flux_jobid_t id, int status) {
  return flux_jobtap_event_post_pack(p, id, "finish", "{s:i}", "status", status);
}

int cjobtap_post_release(flux_plugin_t *p, flux_jobid_t id) {
  return flux_jobtap_event_post_pack(p, id, "release", "{s:s s:b}", "ranks", "all", "final", 1);
}

int cjobtap_post_restart(flux_plugin_t *p, flux_jobid_t id) {
  return flux_jobtap_event_post_pack(p, id, "flux-restart", 0);
}

char **cjobtap_environment(void) { return environ; }
