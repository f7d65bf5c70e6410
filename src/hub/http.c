#include "hub/http.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/shared_library.h"
#include "base/system.h"

enum { MAX_REDIRECTS = 8, CONNECT_S = 10 };

// ---- libcurl --------------------------------------------------------------------------------------------

typedef struct curl_api {
  CURLcode (*global_init)(long flags);
  CURL *(*easy_init)(void);
  void (*easy_cleanup)(CURL *);
  void (*easy_reset)(CURL *);
  CURLcode (*easy_setopt)(CURL *, CURLoption, ...);
  CURLcode (*easy_perform)(CURL *);
  CURLcode (*easy_getinfo)(CURL *, CURLINFO, ...);
  const char *(*easy_strerror)(CURLcode);
  struct curl_slist *(*slist_append)(struct curl_slist *, const char *);
  void (*slist_free_all)(struct curl_slist *);
  CURLU *(*url)(void);
  void (*url_cleanup)(CURLU *);
  CURLUcode (*url_set)(CURLU *, CURLUPart, const char *, unsigned);
  CURLUcode (*url_get)(const CURLU *, CURLUPart, char **, unsigned);
  void (*free)(void *);
} curl_api;

static const fg_shared_function functions[] = {
    {"curl_global_init", offsetof(curl_api, global_init)},
    {"curl_easy_init", offsetof(curl_api, easy_init)},
    {"curl_easy_cleanup", offsetof(curl_api, easy_cleanup)},
    {"curl_easy_reset", offsetof(curl_api, easy_reset)},
    {"curl_easy_setopt", offsetof(curl_api, easy_setopt)},
    {"curl_easy_perform", offsetof(curl_api, easy_perform)},
    {"curl_easy_getinfo", offsetof(curl_api, easy_getinfo)},
    {"curl_easy_strerror", offsetof(curl_api, easy_strerror)},
    {"curl_slist_append", offsetof(curl_api, slist_append)},
    {"curl_slist_free_all", offsetof(curl_api, slist_free_all)},
    {"curl_url", offsetof(curl_api, url)},
    {"curl_url_cleanup", offsetof(curl_api, url_cleanup)},
    {"curl_url_set", offsetof(curl_api, url_set)},
    {"curl_url_get", offsetof(curl_api, url_get)},
    {"curl_free", offsetof(curl_api, free)},
};

static fg_status load_curl(curl_api *out, fg_error *err) {
  static const fg_shared_library library = {.file = FG_SHARED_LIBRARY("libcurl", "4"),
                                            .name = "libcurl",
                                            .advice = "on Debian: apt install libcurl4",
                                            .wanted = "7.85 or newer",
                                            .functions = functions,
                                            .count = sizeof functions / sizeof *functions};
  void *handle; // stays: it cannot be unloaded cleanly
  const fg_status status = fg_shared_library_open(&handle, &library, out, err);
  if (status != FG_OK) return status;
  CURLcode code = out->global_init(CURL_GLOBAL_DEFAULT);
  return code ? fg_fail(err, FG_INTERNAL, "libcurl does not start: %s", out->easy_strerror(code)) : FG_OK;
}

// ---- the state of a request -----------------------------------------------------------------------------

struct fg_http {
  curl_api curl;
  CURL *easy;
  struct curl_slist *plain, *with_token; // headers
  fg_http_options options;
};

typedef struct exchange {
  fg_http *http;
  const fg_http_request *request;
  fg_http_answer *answer;
  bool at_hub;     // not redirected to anybody else so far
  uint64_t length; // Content-Length of the answer at hand
  fg_status taken; // what `take` returned
  fg_error *err;
} exchange;

fg_status fg_http_create(fg_http **out, const fg_http_options *options, fg_error *err) {
  fg_http *http = calloc(1, sizeof *http);
  *out = http;
  if (!http) return fg_fail(err, FG_NO_SPACE, "no memory for HTTP");
  http->options = *options;
  fg_status status = load_curl(&http->curl, err);
  if (status == FG_OK) {
    char line[600];
    const char *identity = "Accept-Encoding: identity"; // sizes and offsets are of the bytes themselves
    snprintf(line, sizeof line, "Authorization: Bearer %s", options->token);
    http->easy = http->curl.easy_init();
    http->plain = http->curl.slist_append(NULL, identity);
    http->with_token = http->curl.slist_append(NULL, identity);
    bool ready = http->easy && http->plain && http->with_token;
    if (ready && options->token[0]) ready = http->curl.slist_append(http->with_token, line) != NULL;
    if (!ready) status = fg_fail(err, FG_NO_SPACE, "no memory for HTTP");
  }
  if (status == FG_OK) return FG_OK;
  fg_http_destroy(http);
  *out = NULL;
  return status;
}

void fg_http_destroy(fg_http *http) {
  if (!http) return;
  if (http->easy) {
    http->curl.slist_free_all(http->plain);
    http->curl.slist_free_all(http->with_token);
    http->curl.easy_cleanup(http->easy);
  }
  free(http);
}

// ---- what comes in --------------------------------------------------------------------------------------

static bool read_number(const char *text, uint64_t *out) {
  uint64_t n = 0;
  if (*text < '0' || *text > '9') return false;
  for (; *text >= '0' && *text <= '9'; text++)
    if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
      return false;
  *out = n;
  return true;
}

// W/"abc" or "abc" to abc.
static void copy_etag(char *out, size_t bytes, const char *value) {
  if (strncmp(value, "W/", 2) == 0) value += 2;
  value += *value == '"';
  snprintf(out, bytes, "%s", value);
  out[strcspn(out, "\"")] = 0;
}

static void on_content_range(fg_http_answer *a, const char *value) {
  const char *slash = strchr(value, '/');
  if (strncasecmp(value, "bytes ", 6) != 0) return;
  if (!read_number(value + 6, &a->from)) a->from = FG_HTTP_UNKNOWN_SIZE;
  if (slash) read_number(slash + 1, &a->bytes);
}

static void on_header(exchange *x, const char *name, const char *value) {
  fg_http_answer *a = x->answer;
  uint64_t n;
  if (strcasecmp(name, "Content-Length") == 0) {
    if (read_number(value, &n)) x->length = n;
  } else if (strcasecmp(name, "Content-Range") == 0) {
    on_content_range(a, value);
  } else if (strcasecmp(name, "Retry-After") == 0) {
    if (read_number(value, &n)) a->retry_s = n < UINT_MAX ? (unsigned)n : UINT_MAX;
  } else if (!x->at_hub) {
    return; // a CDN's hash is its own
  } else if (strcasecmp(name, "X-Repo-Commit") == 0) {
    snprintf(a->commit, sizeof a->commit, "%s", value);
  } else if (strcasecmp(name, "X-Linked-Etag") == 0) {
    copy_etag(a->etag, sizeof a->etag, value);
  } else if (strcasecmp(name, "ETag") == 0) {
    if (!a->etag[0]) copy_etag(a->etag, sizeof a->etag, value);
  } else if (strcasecmp(name, "X-Linked-Size") == 0) {
    read_number(value, &a->bytes);
  } else if (strcasecmp(name, "X-Error-Code") == 0) {
    snprintf(a->code, sizeof a->code, "%s", value);
  } else if (strcasecmp(name, "X-Error-Message") == 0) {
    snprintf(a->message, sizeof a->message, "%s", value);
  }
}

static size_t on_header_line(char *data, size_t size, size_t count, void *user) {
  enum { MAX_LINE = 1024 };
  char line[MAX_LINE];
  size_t bytes = size * count, length = bytes < MAX_LINE ? bytes : MAX_LINE - 1;
  memcpy(line, data, length);
  line[length] = 0;
  while (length > 0 && strchr(" \t\r\n", line[length - 1])) line[--length] = 0;
  char *colon = strchr(line, ':');
  if (!colon) return bytes;
  *colon = 0;
  on_header(user, line, colon + 1 + strspn(colon + 1, " \t"));
  return bytes;
}

static size_t on_body(char *data, size_t size, size_t count, void *user) {
  exchange *x = user;
  size_t bytes = size * count;
  long status = 0;
  x->http->curl.easy_getinfo(x->http->easy, CURLINFO_RESPONSE_CODE, &status);
  if ((status != 200 && status != 206) || !x->request->take) return bytes;
  x->answer->status = status;
  if (status == 200 && x->length != FG_HTTP_UNKNOWN_SIZE)
    x->answer->bytes = x->length; // what comes, not what was said
  x->taken = x->request->take(x->request->user, x->answer, data, bytes, x->err);
  return x->taken == FG_OK ? bytes : 0; // anything but `bytes` ends it
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
  const exchange *x = user;
  (void)a, (void)b, (void)c, (void)d;
  return x->http->options.stopped(x->http->options.user);
}

// ---- one server -----------------------------------------------------------------------------------------

// Scheme, host and port of a URL in one text; "" if it is none.
static void origin_of(const curl_api *curl, const char *url, char out[300]) {
  CURLU *parts = curl->url();
  char *scheme = NULL, *host = NULL, *port = NULL;
  out[0] = 0;
  if (parts && !curl->url_set(parts, CURLUPART_URL, url, 0) &&
      !curl->url_get(parts, CURLUPART_SCHEME, &scheme, 0) &&
      !curl->url_get(parts, CURLUPART_HOST, &host, 0) &&
      !curl->url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
    snprintf(out, 300, "%s://%.255s:%s", scheme, host, port);
  curl->free(scheme);
  curl->free(host);
  curl->free(port);
  curl->url_cleanup(parts);
}

static bool same_origin(const curl_api *curl, const char *a, const char *b) {
  char x[300], y[300];
  origin_of(curl, a, x);
  origin_of(curl, b, y);
  return x[0] && strcasecmp(x, y) == 0;
}

static void set_options(exchange *x, const char *url) {
  const curl_api *curl = &x->http->curl;
  CURL *easy = x->http->easy;
  bool secure = strncasecmp(url, "https:", 6) == 0;
  curl->easy_reset(easy);
  curl->easy_setopt(easy, CURLOPT_URL, url);
  curl->easy_setopt(easy, CURLOPT_PROTOCOLS_STR, secure ? "https" : "http,https");
  curl->easy_setopt(easy, CURLOPT_USERAGENT, "flexgen/" FG_VERSION);
  curl->easy_setopt(easy, CURLOPT_HTTPHEADER, x->at_hub ? x->http->with_token : x->http->plain);
  curl->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl->easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
  curl->easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl->easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)x->http->options.stall_s);
  curl->easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L << 10);
  curl->easy_setopt(easy, CURLOPT_NOBODY, (long)x->request->head);
  if (x->request->from) { // not as a "resume", with which libcurl itself refuses a 200
    char range[32];
    snprintf(range, sizeof range, "%" PRIu64 "-", x->request->from);
    curl->easy_setopt(easy, CURLOPT_RANGE, range);
  }
  curl->easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header_line);
  curl->easy_setopt(easy, CURLOPT_HEADERDATA, x);
  curl->easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl->easy_setopt(easy, CURLOPT_WRITEDATA, x);
  curl->easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  curl->easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl->easy_setopt(easy, CURLOPT_XFERINFODATA, x);
}

// What goes wrong on the way, as against what would go wrong again.
static bool is_cut(CURLcode code) {
  static const CURLcode codes[] = {
      CURLE_COULDNT_RESOLVE_PROXY,
      CURLE_COULDNT_RESOLVE_HOST,
      CURLE_COULDNT_CONNECT,
      CURLE_PARTIAL_FILE,
      CURLE_OPERATION_TIMEDOUT,
      CURLE_SSL_CONNECT_ERROR,
      CURLE_GOT_NOTHING,
      CURLE_SEND_ERROR,
      CURLE_RECV_ERROR,
      CURLE_HTTP2,
      CURLE_HTTP2_STREAM,
      CURLE_WEIRD_SERVER_REPLY,
  };
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    if (codes[i] == code) return true;
  return false;
}

static void copy_host(const curl_api *curl, const char *url, char out[300]) {
  origin_of(curl, url, out);
  if (!out[0]) snprintf(out, 300, "%s", url);
}

static fg_status ask(exchange *x, const char *url) {
  const curl_api *curl = &x->http->curl;
  fg_http_answer *a = x->answer;
  char host[300];
  a->status = 0;
  x->length = FG_HTTP_UNKNOWN_SIZE;
  set_options(x, url);
  CURLcode code = curl->easy_perform(x->http->easy);
  curl->easy_getinfo(x->http->easy, CURLINFO_RESPONSE_CODE, &a->status);
  if (x->taken != FG_OK) return x->taken;
  if (code == CURLE_OK) return FG_OK;
  if (code == CURLE_ABORTED_BY_CALLBACK) return fg_fail(x->err, FG_CANCELLED, "interrupted");
  a->cut = is_cut(code);
  copy_host(curl, url, host);
  bool trust = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
  return fg_fail(x->err, FG_IO, "%s: %s%s", host, curl->easy_strerror(code),
                 trust ? "; is ca-certificates installed, and the clock right?" : "");
}

// ---- redirects ------------------------------------------------------------------------------------------

static bool is_redirect(long status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

fg_status fg_http_do(fg_http *http, const fg_http_request *request, fg_http_answer *answer, fg_error *err) {
  *answer = (fg_http_answer){.bytes = FG_HTTP_UNKNOWN_SIZE};
  exchange x = {.http = http, .request = request, .answer = answer, .at_hub = true, .err = err};
  char *url = strdup(request->url);
  fg_status status = url ? FG_OK : fg_fail(err, FG_NO_SPACE, "no memory for an address");
  for (int hops = 0; status == FG_OK; hops++) {
    char *next = NULL;
    status = ask(&x, url);
    if (status != FG_OK || !is_redirect(answer->status)) break;
    http->curl.easy_getinfo(http->easy, CURLINFO_REDIRECT_URL, &next);
    bool stays = next && same_origin(&http->curl, url, next);
    if (!next || (request->head && !stays)) break;
    if (hops == MAX_REDIRECTS) {
      status = fg_fail(err, FG_IO, "%s: redirected more than %d times", request->url, MAX_REDIRECTS);
      break;
    }
    x.at_hub = x.at_hub && stays;
    if (x.at_hub) { // a renamed repository: what was said is about the redirect, not about the file
      answer->etag[0] = 0;
      answer->bytes = FG_HTTP_UNKNOWN_SIZE;
    }
    char *copy = strdup(next);
    if (!copy) status = fg_fail(err, FG_NO_SPACE, "no memory for an address");
    free(url);
    url = copy;
  }
  free(url);
  if (answer->bytes == FG_HTTP_UNKNOWN_SIZE && answer->status == 200) answer->bytes = x.length;
  return status;
}
