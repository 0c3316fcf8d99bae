/* SPDX-License-Identifier: LGPL-3.0-only */

/* The part of Flux's C interface that the plugin uses: prototypes alone, as flux/core.h and flux/jobtap.h of flux-core 0.88
 * declare them. The process that loads the plugin provides the functions: libflux-core and job-manager.so in a broker,
 * CJobtapHost in the embedded instance. */

#ifndef CJOBTAP_H
#define CJOBTAP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct flux_plugin flux_plugin_t;
typedef struct flux_plugin_arg flux_plugin_arg_t;
typedef struct flux_handle_struct flux_t;
typedef struct flux_reactor flux_reactor_t;
typedef struct flux_watcher flux_watcher_t;
typedef struct flux_future flux_future_t;
typedef struct flux_msg flux_msg_t;
typedef struct flux_msg_handler flux_msg_handler_t;
/* UINT64_MAX: the job of the callback that is under way. */
typedef uint64_t flux_jobid_t;

typedef void (*flux_free_f)(void *arg);
typedef int (*flux_plugin_f)(flux_plugin_t *p, const char *topic, flux_plugin_arg_t *args, void *data);
typedef void (*flux_watcher_f)(flux_reactor_t *r, flux_watcher_t *w, int revents, void *arg);
typedef void (*flux_continuation_f)(flux_future_t *f, void *arg);
typedef void (*flux_msg_handler_f)(flux_t *h, flux_msg_handler_t *mh, const flux_msg_t *msg, void *arg);

#define CJOBTAP_ARG_IN 0
#define CJOBTAP_ARG_OUT 1
#define CJOBTAP_RPC_NORESPONSE 1
#define CJOBTAP_RPC_STREAMING 2

/* The plugin. */
int flux_plugin_init(flux_plugin_t *p);
int flux_plugin_set_name(flux_plugin_t *p, const char *name);
const char *flux_plugin_get_path(flux_plugin_t *p);
const char *flux_plugin_get_conf(flux_plugin_t *p);
int flux_plugin_add_handler(flux_plugin_t *p, const char *topic, flux_plugin_f cb, void *arg);
int flux_plugin_aux_set(flux_plugin_t *p, const char *key, void *val, flux_free_f free_fn);
int flux_plugin_arg_get(flux_plugin_arg_t *args, int flags, char **json_str);
int flux_plugin_arg_set(flux_plugin_arg_t *args, int flags, const char *json_str);

/* Variadic in Flux, so Swift calls the wrappers: whether a callback's jobspec has the attribute system.delegate, or system.dependencies; and
 * the job's state, -1 without one. They copy nothing, for they are asked about every job. Whether its user is this one is asked before
 * anything of what that user has written is read, and its id before all of that is. */
int flux_plugin_arg_unpack(flux_plugin_arg_t *args, int flags, const char *fmt, ...);
bool cjobtap_has_delegate(flux_plugin_arg_t *args);
bool cjobtap_has_dependencies(flux_plugin_arg_t *args);
int cjobtap_state(flux_plugin_arg_t *args);
bool cjobtap_id(flux_plugin_arg_t *args, uint64_t *id);
bool cjobtap_is_of(flux_plugin_arg_t *args, uint32_t userid);

/* The job manager. */
flux_t *flux_jobtap_get_flux(flux_plugin_t *p);
int flux_jobtap_service_register(flux_plugin_t *p, const char *method, flux_msg_handler_f cb, void *arg);
int flux_jobtap_dependency_add(flux_plugin_t *p, flux_jobid_t id, const char *description);
int flux_jobtap_dependency_remove(flux_plugin_t *p, flux_jobid_t id, const char *description);
int flux_jobtap_job_set_flag(flux_plugin_t *p, flux_jobid_t id, const char *flag);
int flux_jobtap_prolog_finish(flux_plugin_t *p, flux_jobid_t id, const char *description, int status);
int flux_jobtap_epilog_start(flux_plugin_t *p, const char *description);
int flux_jobtap_epilog_finish(flux_plugin_t *p, flux_jobid_t id, const char *description, int status);
int flux_jobtap_job_aux_set(
    flux_plugin_t *p, flux_jobid_t id, const char *name, void *val, flux_free_f free_fn);
int flux_jobtap_job_subscribe(flux_plugin_t *p, flux_jobid_t id);

/* Variadic in Flux, so Swift calls the wrappers, one for each event: `delegate::start`; the prolog that keeps job-exec away from a job, which
 * Flux's own flux_jobtap_prolog_start posts in a callback alone; `start`, `finish` and `release`, as job-exec would have the job manager
 * post them; and `flux-restart`, which takes a job from SCHED back to PRIORITY (RFC 21). */
int flux_jobtap_event_post_pack(flux_plugin_t *p, flux_jobid_t id, const char *name, const char *fmt, ...);
int cjobtap_post_started(flux_plugin_t *p, flux_jobid_t id, double timestamp);
int cjobtap_post_prolog(flux_plugin_t *p, flux_jobid_t id, const char *description);
int cjobtap_post_start(flux_plugin_t *p, flux_jobid_t id);
int cjobtap_post_finish(flux_plugin_t *p, flux_jobid_t id, int status);
int cjobtap_post_release(flux_plugin_t *p, flux_jobid_t id);
int cjobtap_post_restart(flux_plugin_t *p, flux_jobid_t id);

/* Messages. */
const flux_msg_t *flux_msg_incref(const flux_msg_t *msg);
void flux_msg_decref(const flux_msg_t *msg);
bool flux_msg_is_streaming(const flux_msg_t *msg);
bool flux_disconnect_match(const flux_msg_t *disconnect, const flux_msg_t *request);
int flux_request_decode(const flux_msg_t *msg, const char **topic, const char **json_str);
int flux_respond(flux_t *h, const flux_msg_t *request, const char *json_str);
int flux_respond_error(flux_t *h, const flux_msg_t *request, int errnum, const char *text);

/* Requests to the instance. */
flux_future_t *flux_rpc(flux_t *h, const char *topic, const char *json_str, uint32_t nodeid, int flags);
int flux_rpc_get(flux_future_t *f, const char **json_str);
int flux_future_then(flux_future_t *f, double timeout, flux_continuation_f cb, void *arg);
void flux_future_reset(flux_future_t *f);
void flux_future_destroy(flux_future_t *f);
const char *flux_future_error_string(flux_future_t *f);

/* The reactor. */
flux_reactor_t *flux_get_reactor(flux_t *h);
flux_watcher_t *flux_timer_watcher_create(
    flux_reactor_t *r, double after, double repeat, flux_watcher_f cb, void *arg);
void flux_watcher_start(flux_watcher_t *w);
void flux_watcher_destroy(flux_watcher_t *w);

/* The log: variadic in Flux, so Swift calls the wrapper. */
int flux_log(flux_t *h, int level, const char *fmt, ...);
void cjobtap_log(flux_t *h, int level, const char *text);

/* The broker's environment, which Swift 6 may not read as a global. */
char **cjobtap_environment(void);

#endif
