package topo
import ("testing";"time";"strings";"fmt")
func TestZZ(t *testing.T){
 for _,c:=range []struct{n,s string}{
 {"replicas", strings.Replace(strings.Replace(deployment,"%d","7",1),"replicas: 5","replicas: 149999",1)},
 {"nodes","cluster: {nodes: 5000, podCIDR: 10.0.0.0/11}\nunderlay: {subnet: 172.16.0.0/16}\n"},
 {"unknown pod fields","apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n"+strings.Repeat("  zork: 1\n",3000)},
 {"nest[",strings.Repeat("[",9000)+strings.Repeat("]",9000)},
 {"nest-",strings.Repeat("- ",5000)},
 {"nest{",strings.Repeat("{a: ",5000)},
 {"q",strings.Repeat("? ",5000)},
 {"nestspec","apiVersion: v1\nkind: Pod\nspec: "+strings.Repeat("[",9000)+strings.Repeat("]",9000)},
 {"anchors",strings.Repeat("- &a b\n- *a\n",200000)},
 {"bigvalue","a: "+strings.Repeat("x ",7<<20)},
 {"lines",strings.Repeat("- a\n",450000)},
 {"docs",strings.Repeat("a: 1\n---\n",100000)},
 {"svc", strings.Repeat("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {a: b}, ports: [{port: 1}]}\n---\n",20000)},
 {"slash", strings.Repeat("a // b\n",200000)},
 {"tabs", strings.Repeat("\ta: b\n",200000)},
 {"quote", strings.Repeat("'a': \"b\n",200000)},
 }{
  b:=time.Now(); _,d:=Parse("f.yaml",[]byte(c.s)); fmt.Println(c.n,len(c.s),time.Since(b),len(d), func() string{ if len(d)>0 {return d[0].String()[:min(200,len(d[0].String()))]}; return ""}())
 }
}
