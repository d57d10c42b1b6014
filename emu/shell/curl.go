package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

var curlCommand = Command{
	Name:    "curl",
	Usage:   "[-sSivI] [-X METHOD] [-H HEADER]... [-d DATA] [-m SECONDS] [--connect-timeout SECONDS] [-o /dev/null] [-w FORMAT] URL",
	Summary: "make one HTTP request over a connection of its own",
	run:     (*call).curl,
}

// curler is one run of curl.
type curler struct {
	*call
	silent, showError, include, verbose, head bool

	method, data, output, format string
	headers                      []string
	maxTime, connectTime         time.Duration

	start, connected, ended time.Duration
	conn                    net.Conn
	size                    int64
}

func (c *call) curl() error {
	u := &curler{call: c}
	var maxTime, connectTime float64
	args, ok, err := c.parse(func(f *pflag.FlagSet) {
		f.BoolVarP(&u.silent, "silent", "s", false, "")
		f.BoolVarP(&u.showError, "show-error", "S", false, "")
		f.BoolVarP(&u.include, "include", "i", false, "")
		f.BoolVarP(&u.verbose, "verbose", "v", false, "")
		f.BoolVarP(&u.head, "head", "I", false, "")
		f.StringVarP(&u.method, "request", "X", "", "")
		f.StringArrayVarP(&u.headers, "header", "H", nil, "")
		f.StringVarP(&u.data, "data", "d", "", "")
		f.StringVarP(&u.output, "output", "o", "", "")
		f.StringVarP(&u.format, "write-out", "w", "", "")
		f.Float64VarP(&maxTime, "max-time", "m", 0, "")
		f.Float64Var(&connectTime, "connect-timeout", 300, "")
	})
	switch {
	case !ok:
		return err
	case len(args) != 1:
		return c.misused("found %d URLs, want one", len(args))
	case u.output != "" && u.output != "/dev/null":
		return c.misused("-o %s: a lab has no files, want /dev/null", u.output)
	case !(maxTime >= 0 && maxTime < 1e6 && connectTime > 0 && connectTime < 1e6):
		return c.misused("times are seconds")
	}
	u.maxTime, u.connectTime = seconds(maxTime), seconds(connectTime)
	return u.fetch(args[0])
}

// request makes the request, with the headers that curl sends.
func (u *curler) request(ctx context.Context, raw string) (*http.Request, error) {
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	target, err := url.Parse(raw)
	switch {
	case err != nil || target.Hostname() == "":
		return nil, u.failed(3, "URL using bad/illegal format or missing URL")
	case target.Scheme != "http":
		return nil, u.failed(1, "Protocol \"%s\" not supported, want http", target.Scheme)
	}
	method := u.method
	switch {
	case method != "":
	case u.head:
		method = "HEAD"
	case u.data != "":
		method = "POST"
	default:
		method = "GET"
	}
	req, err := http.NewRequestWithContext(ctx, method, raw, strings.NewReader(u.data))
	if err != nil {
		return nil, u.failed(3, "%v", err)
	}
	req.Header.Set("User-Agent", "curl/7.88.1")
	req.Header.Set("Accept", "*/*")
	if u.data != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range u.headers {
		key, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, u.misused("header %q, want NAME: VALUE", h)
		}
		req.Header.Set(key, strings.TrimSpace(value))
		if strings.EqualFold(key, "host") {
			req.Host = strings.TrimSpace(value)
		}
	}
	return req, nil
}

// fetch makes the request and prints what came back.
func (u *curler) fetch(raw string) error {
	ctx, cancel := u.ctx, func() {}
	if u.maxTime > 0 {
		ctx, cancel = u.lab.WithTimeout(u.ctx, u.maxTime)
	}
	defer cancel()
	req, err := u.request(ctx, raw)
	if err != nil {
		return err
	}
	u.start = u.lab.Now()
	tr := &http.Transport{DisableCompression: true, DialContext: u.dial}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return u.explain(err, req.URL)
	}
	defer resp.Body.Close()
	u.printHead(resp)
	var body bytes.Buffer
	u.size, err = io.Copy(&body, resp.Body)
	u.ended = u.lab.Now()
	if u.output == "" {
		u.Out.Write(body.Bytes())
	}
	u.writeOut(resp)
	if err != nil {
		return u.explain(err, req.URL)
	}
	return nil
}

// dial connects, within the time that is given for it.
func (u *curler) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := u.lab.WithTimeout(ctx, u.connectTime)
	defer cancel()
	host, port, _ := net.SplitHostPort(address)
	addrs, err := u.m.LookupContext(ctx, host)
	if err != nil {
		return nil, dialError{err}
	}
	if u.verbose {
		fmt.Fprintf(u.Err, "*   Trying %v:%s...\n", addrs[0], port)
	}
	conn, err := u.m.DialContext(ctx, network, net.JoinHostPort(addrs[0].String(), port))
	if err != nil {
		return nil, dialError{err}
	}
	u.conn, u.connected = conn, u.lab.Now()
	if u.verbose {
		remote, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		fmt.Fprintf(u.Err, "* Connected to %s (%s) port %s (#0)\n", host, remote, port)
	}
	return conn, nil
}

// dialError tells an error of connecting from one of talking.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// printHead prints status line and headers, for people and for -i and -I.
func (u *curler) printHead(resp *http.Response) {
	var lines []string
	lines = append(lines, resp.Proto+" "+resp.Status)
	for _, k := range slices.Sorted(maps.Keys(resp.Header)) {
		for _, v := range resp.Header[k] {
			lines = append(lines, k+": "+v)
		}
	}
	if u.verbose {
		fmt.Fprintf(u.Err, "> %s %s HTTP/1.1\n> Host: %s\n", resp.Request.Method, resp.Request.URL.RequestURI(), hostOf(resp.Request))
		for _, k := range slices.Sorted(maps.Keys(resp.Request.Header)) {
			fmt.Fprintf(u.Err, "> %s: %s\n", k, strings.Join(resp.Request.Header[k], ", "))
		}
		fmt.Fprintf(u.Err, ">\n< %s\n<\n", strings.Join(lines, "\n< "))
	}
	if u.include || u.head {
		u.printf("%s\r\n\r\n", strings.Join(lines, "\r\n"))
	}
}

func hostOf(r *http.Request) string {
	if r.Host != "" {
		return r.Host
	}
	return r.URL.Host
}

// writeOut is -w.
func (u *curler) writeOut(resp *http.Response) {
	if u.format == "" {
		return
	}
	sec := func(d time.Duration) string { return fmt.Sprintf("%.6f", max(0, d).Seconds()) }
	remoteIP, remotePort, localIP, localPort := "", "", "", ""
	if u.conn != nil {
		remoteIP, remotePort, _ = net.SplitHostPort(u.conn.RemoteAddr().String())
		localIP, localPort, _ = net.SplitHostPort(u.conn.LocalAddr().String())
	}
	code := "000"
	if resp != nil {
		code = strconv.Itoa(resp.StatusCode)
	}
	u.printf("%s", strings.NewReplacer(
		`\n`, "\n", `\t`, "\t", "%{http_code}", code, "%{response_code}", code,
		"%{time_total}", sec(u.ended-u.start), "%{time_connect}", sec(u.connected-u.start),
		"%{remote_ip}", remoteIP, "%{remote_port}", remotePort, "%{local_ip}", localIP, "%{local_port}", localPort,
		"%{size_download}", strconv.FormatInt(u.size, 10),
	).Replace(u.format))
}

// explain ends curl with the exit code and the words that it has for an error.
func (u *curler) explain(err error, to *url.URL) error {
	u.ended = u.lab.Now()
	u.writeOut(nil)
	port := to.Port()
	if port == "" {
		port = "80"
	}
	ms := (u.ended - u.start).Milliseconds()
	var name *net.DNSError
	var timeout net.Error
	dialing := errors.As(err, new(dialError))
	switch {
	case errors.As(err, &name):
		return u.failed(6, "Could not resolve host: %s", to.Hostname())
	case errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded):
		if u.maxTime > 0 && u.ended-u.start >= u.maxTime && u.conn == nil {
			return u.failed(28, "Connection timed out after %d milliseconds", ms)
		}
		if dialing {
			return u.failed(28, "Failed to connect to %s port %s after %d ms: Timeout was reached", to.Hostname(), port, ms)
		}
		return u.failed(28, "Operation timed out after %d milliseconds with %d bytes received", ms, u.size)
	case dialing && errors.Is(err, syscall.ECONNREFUSED):
		return u.failed(7, "Failed to connect to %s port %s after %d ms: Connection refused", to.Hostname(), port, ms)
	case dialing:
		return u.failed(7, "Failed to connect to %s port %s after %d ms: %v", to.Hostname(), port, ms, rootCause(err))
	case errors.Is(err, syscall.ECONNRESET):
		return u.failed(56, "Recv failure: Connection reset by peer")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return u.failed(52, "Empty reply from server")
	}
	return u.failed(56, "%v", err)
}

// rootCause is the system's word for an error, without what wraps it.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// failed ends curl; -s keeps it from saying why.
func (u *curler) failed(code int, format string, args ...any) error {
	if !u.silent || u.showError {
		fmt.Fprintf(u.Err, "curl: (%d) %s\n", code, fmt.Sprintf(format, args...))
	}
	return &ExitError{code}
}
